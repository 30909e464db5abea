"""``conveyor plugin new``: a distribution that passes its own tests before a line is edited."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path

from conveyor.errors import UsageError
from conveyor.version import __version__, requirement

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")

LAYOUT = {
    "pyproject.toml": "pyproject.toml",
    "requirements-test.txt": "requirements-test.txt",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "tests.yml": ".github/workflows/tests.yml",
    "spec.py": "src/@package@/__init__.py",
    "options.py": "src/@package@/options.py",
    "connector.py": "src/@package@/connector.py",
    "stand_in.py": "tests/stand_in.py",
    "test_conformance.py": "tests/test_conformance.py",
    "test_errors.py": "tests/test_errors.py",
}
"""Template → place in the distribution. Templates end in ``.template``, which no tool takes for code."""


def names_of(name: str) -> dict[str, str]:
    """What a plugin's name becomes: type, package, distribution, class.

    Raises:
        UsageError: It cannot be all of them.
    """
    plain = name.removeprefix("conveyor-").removeprefix("conveyor_")
    if not _NAME.fullmatch(plain) or keyword.iskeyword(plain):
        cure = "small letters and digits, words joined by '-': acme-files"
        raise UsageError(f"{name!r} cannot name a plugin", cure=cure)
    type_ = plain.replace("-", "_")
    return {
        "type": type_,
        "package": f"conveyor_{type_}",
        "distribution": f"conveyor-{plain.replace('_', '-')}",
        "class": "".join(word.capitalize() for word in type_.split("_")),
    }


def conveyor_requirement(which: str | None) -> str:
    """What the plugin's tests install: a wheel or checkout by its path, or a version; None is this one.

    Raises:
        UsageError: It is neither a path that is there nor a version.
    """
    testing = requirement("testing")
    if which is None:
        return f"{testing}>={__version__}"
    path = Path(which).expanduser()
    if path.exists():
        return f"{testing} @ {path.resolve().as_uri()}"
    if re.fullmatch(r"\d+(\.\d+)*((a|b|rc)\d+)?", which):
        return f"{testing}=={which}"
    raise UsageError(f"{which!r} is neither a version nor a file", cure="name a wheel, a checkout, or 0.1.0")


def write(name: str, folder: Path | None = None, *, conveyor: str | None = None) -> Path:
    """Write the distribution.

    Args:
        name: The destination type that the plugin brings.
        folder: Where to; by default a new folder with the distribution's name.
        conveyor: See :func:`conveyor_requirement`.

    Returns:
        The folder.

    Raises:
        UsageError: The name cannot be used, or the folder is not empty.
    """
    known = names_of(name)
    needed = conveyor_requirement(conveyor)
    values = {
        **known,
        "needs": needed,
        "conveyor": requirement("x").partition("[")[0],
        "version": __version__,
    }
    target = folder or Path(known["distribution"])
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is there already", cure="name another folder with --folder")
    templates = files("conveyor.scaffold") / "templates"
    for template, place in LAYOUT.items():
        path = target / _filled(place, values)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_filled((templates / f"{template}.template").read_text("utf-8"), values), "utf-8")
    (target / "src" / known["package"] / "py.typed").touch()
    return target


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"@(\w+)@", lambda match: values[match[1]], text)
