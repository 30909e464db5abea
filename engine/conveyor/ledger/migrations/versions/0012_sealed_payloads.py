"""The data keys of payloads that are encrypted at rest.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column."""
    op.add_column("payloads", sa.Column("sealed_key", sa.LargeBinary))
