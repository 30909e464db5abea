"""Every fenced block of the documentation is run, loaded or parsed, as docs/development.md says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))]
SHOWN = {"text", "ini", "sql", "xml", "http", "mermaid", "diff"}
"""Languages that are only looked at."""
RUN = {"bash", "console", "python"}
LOADED = {"yaml", "json", "toml"}
WORDS = {
    "bash": {"exit"},
    "console": {"exit"},
    "python": {"continues", "file"},
    "yaml": {"file", "under", "refused"},
}
SECONDS = 90
ELLIPSIS = re.compile(r"…|\.\.\.")


@dataclass(frozen=True)
class Block:
    """One fenced block: its place, its language, the words after it, its text."""

    page: str
    line: int
    language: str
    words: dict[str, str]
    text: str
    not_run: str | None
    """Why it is not run, as its author says."""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a page, also those inside lists."""
    opening: re.Match[str] | None = None
    body: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines(), 1):
        if opening is None:
            opening = re.match(r"^\s*(`{3,}|~{3,})\s*(.*)$", line)
            body, start = [], number
        elif line.strip() == opening[1]:
            yield block(page, start, opening[2].strip(), textwrap.dedent("\n".join(body)) + "\n")
            opening = None
        else:
            body.append(line)
    assert opening is None, f"{page}:{start}: this block is never closed"


def block(page: str, line: int, info: str, text: str) -> Block:
    info, marked, reason = info.partition("no-run:")
    language, *rest = info.split() or [""]
    words = {name: value for name, _, value in (word.partition("=") for word in rest)}
    return Block(page, line, language, words, text, reason.strip() if marked else None)


def complaint(found: Block) -> str | None:
    """What is wrong with how a block is marked; a block that nobody checks must say so."""
    if found.language not in SHOWN | RUN | LOADED:
        return f"unknown language {found.language!r}: one of {', '.join(sorted(SHOWN | RUN | LOADED))}"
    unknown = set(found.words) - WORDS.get(found.language, set())
    if unknown:
        return f"unknown words {sorted(unknown)}"
    if found.not_run == "":
        return "no-run: needs a reason"
    return None


# --- running ------------------------------------------------------------------------------------------


def sample_folder(folder: Path) -> Path:
    """What a reader is supposed to have at hand: a photo, and a folder of them."""
    photo = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 64 + b"\xff\xd9"
    (folder / "photos").mkdir(parents=True)
    for name in ("photo.jpg", "photos/first.jpg", "photos/second.jpg"):
        (folder / name).write_bytes(photo + name.encode())
    return folder


def execute(command: list[str], folder: Path) -> tuple[int, str]:
    """Run one command in the page's folder; what it left running is ended. Exit code and output."""
    environ = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "COLUMNS": "160",
        "PYTHONWARNINGS": "error",
    }
    with (folder / ".output").open("w+") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return code, (folder / ".output").read_text()


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block (``$ …``, continued by ``> …``), each with the output it shows."""
    command: str | None = None
    shown: list[str] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, shown
            command, shown = line[2:], []
        elif line.startswith("> ") and command is not None and not shown:
            command += "\n" + line[2:]
        else:
            assert command is not None, f"a console block begins with '$ ', not with {line!r}"
            shown.append(line)
    if command is not None:
        yield command, shown


def missing_line(shown: list[str], output: str) -> str | None:
    """The first shown line that the output does not have, in this order; an ellipsis stands for anything."""
    rest = output.splitlines()
    for line in (line.strip() for line in shown):
        pattern = re.compile(".*".join(re.escape(part) for part in ELLIPSIS.split(line)))
        if not line or ELLIPSIS.fullmatch(line):
            continue
        while rest and not pattern.fullmatch(rest[0].strip()):
            rest.pop(0)
        if not rest:
            return line
        rest.pop(0)
    return None


def run_page(page: list[Block], folder: Path) -> None:
    """Run a page's blocks from top to bottom, as its reader would, in one folder."""
    program = ""
    for found in page:
        wanted = int(found.words.get("exit", "0"))
        if "file" in found.words:
            target = folder / found.words["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(found.text)
        if found.language == "python" and "file" in found.words:
            continue
        if found.not_run is not None or found.language not in RUN:
            continue
        if found.language == "python":
            program = program + found.text if "continues" in found.words else found.text
            (folder / ".snippet.py").write_text(program)
            steps = [([sys.executable, ".snippet.py"], [])]
        elif found.language == "bash":
            steps = [(["bash", "-euo", "pipefail", "-c", found.text], [])]
        else:
            steps = [(["bash", "-c", command], shown) for command, shown in commands(found.text)]
        for command, shown in steps:
            code, output = execute(command, folder)
            assert code == wanted, f"{found.place}: {command[-1]}\nended with {code}:\n{output}"
            lost = missing_line(shown, output)
            assert lost is None, f"{found.place}: {command[-1]}\ndid not print {lost!r}:\n{output}"


def private_key() -> bytes:
    """What a secret file holds here: a key is also some text, so it serves every option."""
    form = (Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return Ed25519PrivateKey.generate().private_bytes(*form)


def load_config(text: str, folder: Path) -> None:
    """Load a configuration with the real models; every variable and secret file that it names exists."""
    from conveyor.config import load

    for name in re.findall(r"!file\s+\"?([^\s\"]+)", text):
        if not Path(name).is_absolute():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(private_key())
    names = re.findall(r"\$\{(\w+)", text)
    (folder / "conveyor.yaml").write_text(text)
    load(folder / "conveyor.yaml", env=dict.fromkeys(names, "an-example-secret"), strict=True)


def nested(text: str, keys: str) -> str:
    """A part of a configuration, put under the keys that its page leaves out."""
    for key in reversed([key for key in keys.split(".") if key]):
        text = f"{key}:\n{textwrap.indent(text, '  ')}"
    return text


# --- the documentation --------------------------------------------------------------------------------

ALL = {name: list(blocks(name, (ROOT / name).read_text())) for name in PAGES}
EACH = [found for page in ALL.values() for found in page]


@pytest.mark.parametrize("page", ALL)
def test_blocks_are_marked(page: str) -> None:
    complaints = [f"{found.place}: {complaint(found)}" for found in ALL[page] if complaint(found)]
    assert not complaints


@pytest.mark.parametrize("page", [p for p, all_of in ALL.items() if any(b.language in RUN for b in all_of)])
def test_pages_run(page: str, tmp_path: Path) -> None:
    run_page(ALL[page], sample_folder(tmp_path / "page"))


@pytest.mark.parametrize(
    "found", [b for b in EACH if b.language in LOADED and b.not_run is None], ids=lambda b: b.place
)
def test_data_loads(found: Block, tmp_path: Path) -> None:
    if found.language == "json":
        json.loads(found.text)
    elif found.language == "toml":
        tomllib.loads(found.text)
    elif "refused" in found.words:
        from conveyor.errors import ConfigError

        with pytest.raises(ConfigError):
            load_config(nested(found.text, found.words.get("under", "")), tmp_path)
    else:
        load_config(nested(found.text, found.words.get("under", "")), tmp_path)


# --- the tester itself --------------------------------------------------------------------------------


def page_of(text: str) -> list[Block]:
    return list(blocks("page.md", textwrap.dedent(text)))


def test_a_block_inside_a_list_is_found_with_its_words() -> None:
    (found,) = page_of("""
        1. first
           ```yaml file=conveyor.yaml under=destinations
           a: 1
           ```
    """)
    assert (found.line, found.language, found.text) == (3, "yaml", "a: 1\n")
    assert found.words == {"file": "conveyor.yaml", "under": "destinations"}
    assert complaint(found) is None


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ("", "unknown language"),
        ("pyhton", "unknown language"),
        ("bash quickly", "unknown words"),
        ("bash no-run:", "needs a reason"),
    ],
)
def test_a_block_that_nobody_would_check_is_refused(info: str, said: str) -> None:
    (found,) = page_of(f"```{info}\nfalse\n```\n")
    assert said in (complaint(found) or "")


@pytest.mark.parametrize(
    "text",
    [
        "```bash\ntrue\nfalse\ntrue\n```",
        "```bash exit=3\nexit 4\n```",
        "```python\nassert 1 == 2\n```",
        "```console\n$ echo one\ntwo\n```",
        "```console\n$ printf 'one\\ntwo\\n'\ntwo\none\n```",
    ],
)
def test_a_wrong_snippet_is_noticed(text: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:1"):
        run_page(page_of(text), sample_folder(tmp_path / "page"))


def test_a_right_page_runs_in_one_folder(tmp_path: Path) -> None:
    page = page_of("""
        ```yaml file=sub/conveyor.yaml
        a: 1
        ```
        ```bash
        cp photo.jpg copy.jpg
        sleep 600 &
        ```
        ```console
        $ ls sub copy.jpg &&
        > echo "took $((40 + 2)) ms"
        copy.jpg
        …
        took … ms
        ```
        ```python
        kept = 1
        ```
        ```python continues
        assert kept == 1
        ```
        ```bash no-run: a reason
        false
        ```
        ```bash exit=3
        exit 3
        ```
    """)
    folder = sample_folder(tmp_path / "page")
    run_page(page, folder)
    assert (folder / "sub" / "conveyor.yaml").read_text() == "a: 1\n"
    shutil.rmtree(folder)


def test_a_part_of_a_configuration_is_put_in_its_place() -> None:
    assert nested("a: 1\n", "destinations.partner") == "destinations:\n  partner:\n    a: 1\n"
