"""The end-to-end tests' folders with a config and engines on it, with a ledger on a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from e2e.conftest import hook, place, receiver
from servers.postgres import Postgres

KEY = "bWFueS1tYWNoaW5lcy1tYW55LW1hY2hpbmVzLXRlc3Q="

__all__ = ["hook", "ledger", "place", "receiver"]


@pytest.fixture
def ledger(postgres_server: Postgres) -> Iterator[dict[str, Any]]:
    """Settings with a fresh ledger on PostgreSQL."""
    with postgres_server.ledger() as url:
        yield {
            "ledger": url,
            "key": {"value": KEY},
            "workers": {"threads": 4, "lease": "5s", "grace": "5s"},
        }
