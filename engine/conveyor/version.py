"""The one place where the version stands; the distribution's name stands in pyproject.toml."""

from __future__ import annotations

__version__ = "0.1.0"


def requirement(extra: str) -> str:
    """What ``pip install`` takes for one extra of this distribution, for hints: ``conveyor[s3]``."""
    from importlib.metadata import entry_points

    own = entry_points(group="conveyor", name="builtin", value="conveyor_connectors")
    names = [entry.dist.name for entry in own if entry.dist is not None]
    return f"{names[0] if names else 'conveyor'}[{extra}]"
