"""Priorities of deliveries, and the rates that all workers share.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_RANKED = "status = 'pending' AND priority <> 0"


def upgrade() -> None:
    """Add the column with its index, and the table."""
    zero = sa.text("0")
    op.add_column("deliveries", sa.Column("priority", sa.BigInteger, nullable=False, server_default=zero))
    op.create_index(
        "ix_deliveries_priority",
        "deliveries",
        ["destination", "priority", "next_attempt_at"],
        sqlite_where=sa.text(_RANKED),
        postgresql_where=sa.text(_RANKED),
    )
    op.create_table(
        "flow",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False, server_default=zero),
        sa.Column("attempts", sa.BigInteger, nullable=False, server_default=zero),
        sa.Column("bytes", sa.BigInteger, nullable=False, server_default=zero),
        sa.PrimaryKeyConstraint("name", name="pk_flow"),
    )
