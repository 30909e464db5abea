"""Destination type ``webhook``: one HTTP POST per delivery."""
