"""File servers: types ``ftp``, ``ftps`` and ``sftp``."""
