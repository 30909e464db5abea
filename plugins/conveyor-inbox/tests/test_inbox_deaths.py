"""The process dies anywhere: the next one submits each file, and none twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conveyor import Conveyor
from conveyor_inbox.settings import Inbox
from conveyor_inbox.watching import Watcher

NAMES = ["a.jpg", "b.jpg"]
LAST = 15


class Death(BaseException):
    """Nothing after this line runs."""


def sizes(conveyor: Conveyor) -> list[int]:
    return sorted(conveyor.job(each.job_id).size for each in conveyor.deliveries(limit=None))


def dying(monkeypatch: pytest.MonkeyPatch, context: Any, number: int, *, after: bool) -> list[str]:
    """Die before or after the step of this number; the steps that were begun."""
    steps: list[str] = []

    def step(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **options: Any) -> Any:
            mine = len(steps) == number  # a submission makes folders, too
            steps.append(name)
            if mine and not after:
                raise Death
            answer = real(*arguments, **options)
            if mine:
                raise Death
            return answer

        return made

    for owner, name in ((os, "rename"), (Path, "mkdir"), (Path, "rmdir"), (context, "submit")):
        monkeypatch.setattr(owner, name, step(name, getattr(owner, name)))
    return steps


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(LAST + 1))
def test_whichever_line_it_dies_on(
    conveyor: Conveyor, context: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    for size, name in enumerate(NAMES, 1):
        (folder / name).write_bytes(b"x" * size)
    inbox = Inbox("studio", folder, settle=0)
    with monkeypatch.context() as patch:
        steps = dying(patch, context, number, after=after)
        try:
            Watcher(inbox).look(context)
        except Death:
            pass
        else:
            assert len(steps) <= number
        assert number < LAST or len(steps) <= number, "the numbers reach every step"
    Watcher(inbox).look(context)
    Watcher(inbox).look(context)
    assert sizes(conveyor) == [1, 2]
    assert sorted(path.name for path in (folder / "done").iterdir()) == NAMES
    assert list((folder / ".taken").iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from conveyor import Conveyor
from conveyor_inbox.settings import Inbox
from conveyor_inbox.watching import Watcher

sys.path.insert(0, sys.argv[3])
from conftest import Context

class Killed(Context):
    def submit(self, item):
        super().submit(item)
        os.kill(os.getpid(), signal.SIGKILL)

Watcher(Inbox("studio", Path(sys.argv[2]), settle=0)).run(Killed(Conveyor.from_config(sys.argv[1])))
"""


def test_killed_between_submitting_and_moving(
    conveyor: Conveyor, context: Any, config: Path, folder: Path
) -> None:
    """A real process, killed where nothing can be tidied up."""
    (folder / "a.jpg").write_bytes(b"a")
    command = [sys.executable, "-c", KILLED, config, folder, Path(__file__).parent]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    (taken,) = (folder / ".taken").rglob("*.jpg")
    assert sizes(conveyor) == [1]
    Watcher(Inbox("studio", folder, settle=0)).look(context)
    assert sizes(conveyor) == [1]
    assert not taken.exists()
    assert (folder / "done" / "a.jpg").read_bytes() == b"a"


def test_of_two_processes_at_once_each_file_is_submitted_by_one(
    conveyor: Conveyor, context: Any, folder: Path
) -> None:
    """The second one takes over while the first stands frozen before its submission."""
    for size, name in enumerate(NAMES, 1):
        (folder / name).write_bytes(b"x" * size)
    inbox = Inbox("studio", folder, settle=0)
    thawed: list[bool] = []

    def freeze() -> None:
        if not thawed:
            thawed.append(True)
            Watcher(inbox).look(context)

    context.before = freeze
    Watcher(inbox).look(context)
    Watcher(inbox).look(context)
    assert sizes(conveyor) == [1, 2]
    assert sorted(path.name for path in (folder / "done").iterdir()) == NAMES
