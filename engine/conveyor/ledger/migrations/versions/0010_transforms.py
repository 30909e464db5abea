"""What transforms have made of a delivery's payload.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns and the index."""
    op.add_column("deliveries", sa.Column("payload_id", sa.Text))
    op.add_column("deliveries", sa.Column("transformed", sa.Text))
    made = sa.text("payload_id IS NOT NULL")
    op.create_index(
        "ix_deliveries_payload", "deliveries", ["payload_id"], sqlite_where=made, postgresql_where=made
    )
