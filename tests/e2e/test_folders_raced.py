"""Processes that need the same new folders, and the same names, at the four vendors' stand-ins."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable

import pytest
from servers.places import STANDINS, options_at
from servers.standins.google_drive import GoogleDrive
from servers.standins.kit import StandIn, running

from e2e.kit import Place

FOLDERS = [f"ses_{number}/kiosk-{letter}" for number in range(2) for letter in "ab"]
EACH = 8
"""Files for each folder."""


@pytest.mark.parametrize("type_", STANDINS)
def test_a_folder_is_made_once_and_no_name_is_lost(place: Callable[..., Place], type_: str) -> None:
    module, _, name = STANDINS[type_][0].partition(":")
    standin: StandIn
    with running(getattr(importlib.import_module(module), name)()) as standin:
        here = place(
            mine={
                "type": type_,
                **options_at(type_, standin.facts()),
                "path_template": "{session_id}/{image_id}/{filename}",
                "conflict": "rename",
                "limits": {"concurrency": 16},
                "retry": {"schedule": ["200ms", "500ms", "1s"]},
            }
        )
        # Google Drive has no condition on names (docs/destinations/google_drive.md): there they differ.
        same_names = not isinstance(standin, GoogleDrive)
        with here.open() as installation:
            for folder in FOLDERS:
                session, image = folder.split("/")
                for number in range(EACH):
                    installation.submitter().submit(
                        f"{folder} {number}".encode(),
                        to=["mine"],
                        session_id=session,
                        image_id=image,
                        filename="photo.jpg" if same_names else f"photo {number}.jpg",
                    )
        assert here.start("--processes", "2", "--until-idle").wait(120) == 0, here.log()[-3000:]
        with here.open() as installation:
            assert not installation.ledger.deliveries.open_count(), here.log()[-3000:]
        there = {path: content.read_bytes().decode() for path, content in standin.files()}
        assert len(there) == len(standin.files()) == len(FOLDERS) * EACH
        assert len(set(there.values())) == len(there)
        for path, said in there.items():
            assert said.rpartition(" ")[0] in path
        assert twins(standin) == {}


def twins(standin: StandIn) -> dict[str, int]:
    """Folders of one path, where the service allows that: Google Drive alone."""
    if not isinstance(standin, GoogleDrive):
        return {}
    with standin.lock:
        folders = [node for node in standin.nodes.values() if not node.content and not standin.trashed(node)]
        count = Counter(standin._path(node) for node in folders)
    return {path: number for path, number in count.items() if number > 1}
