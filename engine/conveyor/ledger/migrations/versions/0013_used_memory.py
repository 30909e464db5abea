"""When a remembered folder was last used: those that are not used for long are forgotten.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_REMEMBERED = sa.text("used_at IS NOT NULL")
_FOLDERS = sa.text("UPDATE memory SET used_at = :now WHERE key LIKE 'folder:%'")


def upgrade() -> None:
    """Add the column and its index; what is known of folders counts as used now."""
    op.add_column("memory", sa.Column("used_at", sa.BigInteger))
    op.create_index(
        "ix_memory_used", "memory", ["used_at"], sqlite_where=_REMEMBERED, postgresql_where=_REMEMBERED
    )
    op.execute(_FOLDERS.bindparams(sa.bindparam("now", int(time.time() * 1_000_000), sa.BigInteger)))
