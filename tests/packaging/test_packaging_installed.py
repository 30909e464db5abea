"""The wheel, installed alone: names, entry points, commands, and what starting costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Environment

HEAVY = ["sqlalchemy", "pydantic", "dramatiq", "boto3", "botocore", "paramiko", "alembic", "typer", "yaml"]
"""What ``import conveyor`` must not bring: each alone costs more than the start-up budget allows."""

SDKS = ["boto3", "botocore", "paramiko", "psycopg", "pytest", "hypothesis", "moto", "asyncssh"]
"""What no installation without extras has."""


def test_the_environment_is_bare(bare: Environment) -> None:
    code = f"import importlib.util as u; print([name for name in {SDKS} if u.find_spec(name)])"
    assert bare.python(code) == "[]"
    assert str(bare.folder) in bare.python("import conveyor; print(conveyor.__file__)")


def test_importing_brings_nothing_heavy(bare: Environment) -> None:
    code = f"import sys, conveyor; print([name for name in {HEAVY} if name in sys.modules])"
    assert bare.python(code) == "[]"


def test_importing_takes_little_time(bare: Environment) -> None:
    # The best of five: the budget is the program's, not that of whatever else the machine does.
    code = "import time; t = time.process_time(); import conveyor; print(time.process_time() - t)"
    assert min(float(bare.python(code)) for _ in range(5)) < 0.150


def test_the_contract_imports_no_sdk_and_no_store(bare: Environment) -> None:
    code = (
        "import sys, conveyor.contract, conveyor.hookspecs;"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert bare.python(code) == "[]"


def test_the_entry_points_are_the_ones_that_plugins_use(bare: Environment) -> None:
    code = (
        "import json, importlib.metadata as m;"
        "own = m.entry_points(group='conveyor', name='builtin')['builtin'].dist.name;"
        "print(json.dumps({g: {e.name: e.value for e in m.entry_points(group=g) if e.dist.name == own}"
        " for g in ('conveyor', 'console_scripts', 'pytest11')}))"
    )
    assert json.loads(bare.python(code)) == {
        "conveyor": {"builtin": "conveyor_connectors"},
        "console_scripts": {"conveyor": "conveyor.cli:main"},
        "pytest11": {"conveyor": "conveyor.testing.plugin"},
    }


def test_the_built_in_connectors_are_listed_without_any_sdk(bare: Environment) -> None:
    code = "from conveyor.registry import default_registry as r; print(*r().types())"
    assert {"webhook", "s3", "sftp"} <= set(bare.python(code).split())


@pytest.mark.parametrize(("kind", "extra"), [("s3", "s3"), ("sftp", "ftp")])
def test_a_missing_sdk_says_what_to_install(bare: Environment, kind: str, extra: str) -> None:
    code = f"""
from conveyor.errors import ConveyorError
from conveyor.registry import default_registry
from conveyor.version import requirement
try:
    default_registry().factory({kind!r})
except ConveyorError as error:
    print(error.cure == f"pip install '{{requirement({extra!r})}}'")
"""
    assert bare.python(code) == "True"


def test_help_lists_the_verbs(bare: Environment) -> None:
    done = bare.run("conveyor", "--help")
    assert done.returncode == 0, done.stderr
    for verb in ("init", "validate", "send", "run", "status", "deliveries", "show", "replay", "version"):
        assert f" {verb} " in done.stdout


def test_version_is_that_of_the_distribution(bare: Environment) -> None:
    done = bare.run("conveyor", "version")
    assert done.returncode == 0, done.stderr
    assert bare.python("import conveyor.version as v; print(v.__version__)") in done.stdout


def test_the_promises_can_be_read_without_a_checkout_and_without_pytest(bare: Environment) -> None:
    done = bare.run("python", "-m", "conveyor.testing.promises", "atomic", "gap")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n    ")[0] == "atomic"
    assert "usually broken by: writing under the final name\n\ngap\n" in done.stdout
