"""Delivery over SFTP, on paramiko's transport."""
