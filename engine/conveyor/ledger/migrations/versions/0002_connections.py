"""Accounts that destinations are linked to.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "connections",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="ok"),
        sa.Column("account_id", sa.Text),
        sa.Column("account_name", sa.Text),
        sa.Column("scopes", sa.Text),
        sa.Column("tokens", sa.LargeBinary, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("generation", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("lock_owner", sa.Text),
        sa.Column("lock_until", sa.BigInteger),
        sa.Column("lock_fence", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_used", sa.BigInteger),
        sa.Column("last_refresh", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_connections"),
        sa.CheckConstraint("state IN ('ok', 'revoked', 'consent')", name=op.f("ck_connections_state")),
        sa.CheckConstraint("(lock_owner IS NULL) = (lock_until IS NULL)", name=op.f("ck_connections_lock")),
    )
