"""The index by expiry serves the questions about it alone.

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_WHERE = sa.text("status = 'pending' AND expires_at > 0")


def upgrade() -> None:
    """Make it anew, under a condition that claims do not name."""
    op.drop_index("ix_deliveries_expiry", "deliveries")
    op.create_index(
        "ix_deliveries_expiry", "deliveries", ["expires_at"], sqlite_where=_WHERE, postgresql_where=_WHERE
    )
