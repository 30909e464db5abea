"""Backups: ledger, payloads and key in one folder, made while workers run; and an installation out of it.

A backup holds ``ledger.db`` (SQLite, whatever the ledger was on), ``payloads/`` as the store has them,
``conveyor.key`` where that is a file, and ``manifest.json``. It gets its name once it is whole.
"""

from conveyor.backup.making import Made, make
from conveyor.backup.restoring import Restored, restore

__all__ = ["Made", "Restored", "make", "restore"]
