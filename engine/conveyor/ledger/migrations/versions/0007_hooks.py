"""Deliveries that a hook holds, what was last told of destinations, and how often plugins have failed.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("deliveries", sa.Column("hold_reason", sa.Text))
    op.add_column("deliveries", sa.Column("held_since", sa.BigInteger))
    op.add_column("destinations_health", sa.Column("told", sa.Text))
    op.create_table(
        "plugin_failures",
        sa.Column("plugin", sa.Text, nullable=False),
        sa.Column("hook", sa.Text, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("plugin", "hook", name="pk_plugin_failures"),
    )
