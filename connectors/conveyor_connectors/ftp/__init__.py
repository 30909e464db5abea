"""File servers: type ``ftp`` and its alias ``sftp``.

SFTP so far; FTP and FTPS are refused when configured.
"""
