"""When a job was forgotten: the tombstone that ``conveyor forget`` leaves.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column."""
    op.add_column("jobs", sa.Column("forgotten_at", sa.BigInteger))
