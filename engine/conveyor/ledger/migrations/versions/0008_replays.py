"""Replays in bulk.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_REPLAYED = "replay IS NOT NULL"


def upgrade() -> None:
    """Add the tables, and the column that says which replay a delivery belongs to."""
    zero = sa.text("0")
    op.create_table(
        "replays",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="running"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("wanted", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replays")),
        sa.CheckConstraint(
            "state IN ('running', 'paused', 'done', 'cancelled')", name=op.f("ck_replays_state")
        ),
    )
    op.create_table(
        "replay_parts",
        sa.Column("replay", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("matched", sa.BigInteger, nullable=False),
        sa.Column("turned", sa.BigInteger, nullable=False, server_default=zero),
        sa.Column("skipped", sa.BigInteger, nullable=False, server_default=zero),
        sa.Column("after_at", sa.BigInteger),
        sa.Column("after_id", sa.Text),
        sa.Column("done", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("replay", "destination", name=op.f("pk_replay_parts")),
        sa.ForeignKeyConstraint(["replay"], ["replays.id"], name=op.f("fk_replay_parts_replay")),
    )
    op.add_column("deliveries", sa.Column("replay", sa.Text))
    op.create_index(
        "ix_deliveries_replay",
        "deliveries",
        ["replay", "destination", "status", "finished_at"],
        sqlite_where=sa.text(_REPLAYED),
        postgresql_where=sa.text(_REPLAYED),
    )
