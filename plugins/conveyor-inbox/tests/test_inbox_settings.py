"""The file that names the folders: what it may say, and what it is told when it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from conveyor_inbox import conveyor_payload_sources
from conveyor_inbox.settings import VARIABLE, Inbox, inboxes


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "inbox.toml"


def test_every_field(place: Path) -> None:
    place.write_text(
        '[studio]\nfolder = "in"\nto = ["backend"]\ntags = ["from:studio"]\nsettle = 2\npoll = 0.5\n'
        '[shop]\nfolder = "/srv/shop"\n'
    )
    assert inboxes(place) == [
        Inbox("studio", place.parent / "in", ("backend",), ("from:studio",), 2.0, 0.5),
        Inbox("shop", Path("/srv/shop")),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "one table for each folder"),
        ("[a", "cannot be read as TOML"),
        ("a = 1", r"\[a\]: folder is missing"),
        ("[a]\nto = []", "folder is missing"),
        ('[a]\nfolder = "x"\nsetle = 1', "'setle' is unknown; there are folder, poll, settle"),
        ('[a]\nfolder = "x"\nto = "backend"', "to must be a list of words"),
        ('[a]\nfolder = "x"\nto = []', "leave it out for the default destinations"),
        ('[a]\nfolder = "x"\nsettle = "10s"', "settle must be seconds, at least 0"),
        ('[a]\nfolder = "x"\nsettle = nan', "settle must be seconds"),
        ('[a]\nfolder = "x"\npoll = 0', "poll must be seconds, at least 0.1"),
        ('[a]\nfolder = "x"\n[b]\nfolder = "./x"', "no folder twice"),
    ],
)
def test_a_mistake_is_told_with_its_place(place: Path, text: str, says: str) -> None:
    place.write_text(text)
    with pytest.raises(ValueError, match=says) as told:
        inboxes(place)
    assert str(place) in str(told.value)


def test_a_source_for_each_folder_where_the_variable_is_set(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert conveyor_payload_sources() == []
    place.write_text('[studio]\nfolder = "in"\n[shop]\nfolder = "/srv/shop"\n')
    monkeypatch.setenv(VARIABLE, str(place))
    assert [source.name for source in conveyor_payload_sources()] == ["inbox:studio", "inbox:shop"]
    place.unlink()
    with pytest.raises(ValueError, match=f"{VARIABLE} names"):
        conveyor_payload_sources()
