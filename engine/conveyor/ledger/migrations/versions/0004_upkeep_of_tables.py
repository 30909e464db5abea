"""How PostgreSQL keeps the tables that a queue wears out.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_UPKEEP = {
    "deliveries": "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000, "
    "autovacuum_analyze_scale_factor = 0.02",
    "attempts": "fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000",
    "workers": "fillfactor = 50",
    "destinations_health": "fillfactor = 50",
}


def upgrade() -> None:
    """Set the storage parameters."""
    if op.get_context().dialect.name == "postgresql":
        for table, parameters in _UPKEEP.items():
            op.execute(f"ALTER TABLE {table} SET ({parameters})")
