"""The plugins in ``plugins/``: each built, installed beside Conveyor, and proved there by its own tests."""

from __future__ import annotations

import ast
import email
import email.policy
import json
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller
from e2e.kit import until

import conveyor
from conveyor.testing import free_port

from .conftest import make_environment, run

if TYPE_CHECKING:
    from .conftest import Built, Environment

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
PUBLIC = {"conveyor.contract", "conveyor.hooks", "conveyor.hookspecs", "conveyor.kit"}
"""What the compatibility promise covers; ``conveyor.testing`` comes to it in tests."""
PUBLIC |= {f"conveyor.{name}" for name in conveyor.__all__}
"""What applications import: a payload source submits ``conveyor.Item``."""
SECONDS = 240
named = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)


@pytest.fixture(scope="session")
def plugged(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """One environment with Conveyor's wheel and every plugin's."""
    out = tmp_path_factory.mktemp("plugins")
    for plugin in PLUGINS:
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, plugin)
    return make_environment(tmp_path_factory.mktemp("plugged"), built.wheel, *sorted(out.glob("*.whl")))


def imported(folder: Path) -> Iterator[tuple[str, str]]:
    """The modules and names of Conveyor that code in this folder imports, each with the file."""
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                if name.partition(".")[0] in ("conveyor", "conveyor_connectors"):
                    yield name, str(file.relative_to(ROOT))


def told(report: str) -> dict[str, tuple[list[str], list[str]]]:
    """What a report, or the README that took it over, says of each suite: promises, names of tests."""
    _, *parts = re.split(r"^(Test\w+): \*\*.*\*\*$", report, flags=re.MULTILINE)
    return {
        suite: (
            re.findall(r"^\* (?!.*`test_)(.+)$", text, re.MULTILINE),
            sorted(set(re.findall(r"`(test_\w+)`", text))),
        )
        for suite, text in zip(parts[::2], parts[1::2], strict=True)
    }


def test_there_are_plugins() -> None:
    assert PLUGINS


@named
def test_a_plugin_imports_only_what_is_promised(plugin: Path) -> None:
    for folder, allowed in (("src", PUBLIC), ("tests", PUBLIC | {"conveyor.testing"})):
        stray = [
            (name, file)
            for name, file in imported(plugin / folder)
            if not any(name == known or name.startswith(f"{known}.") for known in allowed)
        ]
        assert not stray


@named
def test_a_plugin_is_listed_with_what_it_brings(plugin: Path, plugged: Environment) -> None:
    done = plugged.run("conveyor", "plugins")
    assert done.returncode == 0, done.stderr
    project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
    (name,) = project["entry-points"]["conveyor"]
    assert re.search(rf"{name}\b.*{project['name']} {project['version']}", done.stdout), done.stdout


@named
def test_a_plugin_passes_its_own_tests(plugin: Path, plugged: Environment, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    done = plugged.run(
        *("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist"),
        *(f"--conveyor-report={report}", str(plugin)),
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    readme = (plugin / "README.md").read_text()
    assert told(readme) == told(report.read_text()), f"take this over into the README:\n{report.read_text()}"


# --- together -------------------------------------------------------------------------------------------


def segment(code: int, body: bytes) -> bytes:
    return bytes([0xFF, code]) + (len(body) + 2).to_bytes(2, "big") + body


def picture(name: str) -> tuple[bytes, bytes]:
    """A JPEG that tells where it was taken, and what is left of it without that."""
    data = segment(0xDB, bytes(65)) + segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + name.encode() * 9000
    place = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x>a secret place</x>")
    return b"\xff\xd8" + place + data + b"\xff\xd9", b"\xff\xd8" + data + b"\xff\xd9"


class Mailbox:
    """Keeps the attachments that a mail server is handed."""

    def __init__(self) -> None:
        self.attachments: list[bytes] = []

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.attachments += [part.get_content() for part in mail.iter_attachments()]
        return "250 OK"


@contextmanager
def engine(plugged: Environment, folder: Path, end: signal.Signals) -> Iterator[None]:
    """``conveyor run`` with the plugins, ended by a signal."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    environ["CONVEYOR_INBOX"] = str(folder / "inbox.toml")
    with (folder / "engine.log").open("a") as log:
        process = subprocess.Popen(
            [plugged.folder / "bin" / "conveyor", "run", "--processes", "1"],
            cwd=folder, env=environ, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield
            process.send_signal(end)
            code = process.wait(30)
        finally:
            process.kill()
            process.wait()
    assert code == (0 if end is signal.SIGINT else -end), (folder / "engine.log").read_text()


@pytest.mark.parametrize(
    "first_end",
    # The dead process's lease on the folder lasts half a minute longer than it.
    [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.long)],
    ids=["asked", "killed"],
)
def test_inbox_exif_folder_and_smtp_work_together(
    plugged: Environment, tmp_path: Path, first_end: signal.Signals
) -> None:
    """A photo put into a folder arrives, stripped, in another one and as a mail; engine follows engine."""
    inbox, archive, mailbox, port = tmp_path / "inbox", tmp_path / "archive", Mailbox(), free_port()
    inbox.mkdir()
    archive.mkdir()
    (tmp_path / "inbox.toml").write_text(
        f'[studio]\nfolder = "{inbox}"\nto = ["archive", "office"]\nsettle = 0\npoll = 0.1\n'
    )
    (tmp_path / "conveyor.yaml").write_text(
        "network: {allow_private: [127.0.0.1/32]}\n"
        "destinations:\n"
        f"  archive: {{type: folder, path: {archive}, transforms: [strip_exif]}}\n"
        f"  office: {{type: smtp, host: 127.0.0.1, port: {port}, security: none, transforms: [strip_exif],\n"
        "           sender: photos@example.com, to: [office@example.com]}\n"
    )
    wanted: list[bytes] = []

    def arrived() -> bool:
        if not len(mailbox.attachments) == len(list(archive.rglob("*.jpg"))) == len(wanted):
            return False  # before the command line is asked, which takes a while
        listed = plugged.run("conveyor", "--config", str(tmp_path / "conveyor.yaml"), "deliveries", "--json")
        found = [each["status"] for each in json.loads(listed.stdout)] if listed.returncode == 0 else []
        return found == ["delivered"] * 2 * len(wanted)

    server = Controller(mailbox, hostname="127.0.0.1", port=port)
    server.start()
    try:
        for name, end in (("first", first_end), ("second", signal.SIGINT)):
            original, stripped = picture(name)
            wanted.append(stripped)
            (inbox / f".{name}.jpg").write_bytes(original)
            (inbox / f".{name}.jpg").rename(inbox / f"{name}.jpg")  # the second one while no engine runs
            with engine(plugged, tmp_path, end):
                until(arrived, f"{name}: {(tmp_path / 'engine.log').read_text()}")
    finally:
        server.stop()
    assert sorted(path.read_bytes() for path in archive.rglob("*.jpg")) == sorted(wanted)
    assert sorted(mailbox.attachments) == sorted(wanted)
    assert sorted(path.name for path in inbox.rglob("*.jpg")) == ["first.jpg", "second.jpg"]
    assert {path.parent.name for path in inbox.rglob("*.jpg")} == {"done"}
