"""Connections: accounts that destinations are linked to, their logins kept alive for all workers."""
