"""``conveyor demo``: the real engine, real servers and real files, for a quarter of a minute.

:mod:`.stage` opens everything below one temporary folder and takes it away again, :mod:`.play` is what
happens on it, :mod:`.board` shows it, :mod:`.compare` holds what arrived against what was sent.
"""
