"""What the attempts of a destination came to of late, and since when all have failed.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns."""
    for column in (
        sa.Column("recent", sa.Text),
        sa.Column("failing_since", sa.BigInteger),
        sa.Column("failing_attempts", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    ):
        op.add_column("destinations_health", column)
