"""Delivery over FTP, plain or over TLS, on the standard library's ftplib."""
