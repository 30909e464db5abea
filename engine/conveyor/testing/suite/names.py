"""Names from strangers' phones, folders that are not there yet, limits."""

from __future__ import annotations

import dataclasses
import threading
import unicodedata
from typing import BinaryIO, ClassVar

import pytest

from conveyor.contract import ErrorKind
from conveyor.paths.names import LengthUnit, NameRules
from conveyor.testing.attempts import Attempt, attempt
from conveyor.testing.bench import Bench
from conveyor.testing.parcels import make_parcel
from conveyor.testing.suite.base import SuitePart, delivered, expect_copy, expect_only
from conveyor.testing.suite.promises import keeps

NAMES = {
    "plain": "photo.jpg",
    "spaces": "my  summer photo.jpg",
    "percent": "100%25 & 5%.jpg",
    "hash": "photo #1?.jpg",
    "quotes": 'it\'s a "photo" `x`.jpg',
    "plus": "a+b=c&d;e,f@g$.jpg",
    "brackets": "[photo] {1} (2) <3>.jpg",
    "backslash": "a\\b|c*d:e.jpg",
    "nfc": "Zürich café.jpg",
    "nfd": unicodedata.normalize("NFD", "Zürich café.jpg"),
    "cjk": "写真 사진.jpg",
    "emoji": "🏔️ Ausflug.jpg",
    "dots": "...photo...jpg",
    "dash": "-rf ~.jpg",
    "no_extension": "photo",
}


class NamesSuite(SuitePart):
    """The names that a target can hold, and those it cannot."""

    NEEDS: ClassVar[tuple[str, ...]] = ("observable",)

    @pytest.mark.parametrize("which", list(NAMES))
    def test_name_arrives_unchanged(self, bench: Bench, which: str) -> None:
        raw = NAMES[which]
        name = legal(raw, bench.spec.capabilities.names)
        target = bench.target(f"inbox/{name}")
        parcel = make_parcel(1_234, filename=raw)
        path = delivered(attempt(bench, parcel, target), "names")
        keeps("names", path == target.path, f"the receipt's path is {path!r}, not {target.path!r}")
        expect_only(bench, "names", target.path)
        expect_copy(bench, target.path, parcel, "names")

    def test_name_in_folder_of_that_name(self, bench: Bench) -> None:
        rules = bench.spec.capabilities.names
        folders = [legal(NAMES[which], rules) for which in ("spaces", "percent", "hash", "nfc")]
        target = bench.target("/".join((*folders, "photo.jpg")))
        parcel = make_parcel(10)
        delivered(attempt(bench, parcel, target), "names")
        expect_only(bench, "names", target.path)

    def test_metadata_of_any_kind_does_no_harm(self, bench: Bench) -> None:
        parcel = make_parcel(
            10,
            filename='Zürich "x".jpg',
            session_id="sitzung-ü",
            source="Ömers 📱",
            tags=("order:7", "vip", "ort:Zürich", "x:a\r\nInjected: yes", "=?utf-8?q?=22?="),
            meta={"größe": "10 m²", "k": ""},
        )
        delivered(attempt(bench, parcel, bench.target()), "names")
        expect_only(bench, "names", bench.target().path)

    def test_nested_folders_are_made(self, bench: Bench) -> None:
        target = bench.target("a/b c/d/e/f/photo.jpg")
        parcel = make_parcel(1_000)
        delivered(attempt(bench, parcel, target), "folders")
        expect_copy(bench, target.path, parcel, "folders")

    def test_two_workers_make_the_same_folders(self, bench: Bench) -> None:
        for turn in range(3):
            self._race_for_folders(bench, f"new{turn}/deep/er")

    def _race_for_folders(self, bench: Bench, folder: str) -> None:
        start = threading.Barrier(4)
        parcels = [make_parcel(100 + number) for number in range(4)]
        results: dict[int, Attempt] = {}

        def work(number: int) -> None:
            with bench.connector() as connector:
                start.wait(10)
                target = bench.target(f"{folder}/photo{number}.jpg")
                results[number] = attempt(bench, parcels[number], target, connector=connector)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        keeps("folders", len(results) == 4, "a worker did not come back from making folders")
        for number, result in results.items():
            expect_copy(bench, delivered(result, "folders"), parcels[number], "folders")

    @pytest.mark.parametrize("which", ["segment", "path"])
    def test_name_too_long(self, bench: Bench, which: str) -> None:
        rules = bench.spec.capabilities.names
        unit = "a" if which == "segment" else "a" * min(100, rules.segment_max)
        if which == "segment":
            if rules.segment_max >= rules.path_max:
                pytest.skip("a segment may be as long as a path there")
            path = unit * (rules.segment_max + 1)
        else:
            path = "/".join([unit] * (rules.path_max // len(unit) + 1))
        result = attempt(bench, make_parcel(10), bench.target(path))
        keeps("name_too_long", result.kind is ErrorKind.NAME, f"with {len(path)} bytes {result.describe()}")
        expect_only(bench, "name_too_long")

    @pytest.mark.needs("max_size")
    def test_too_large_a_file(self, bench: Bench) -> None:
        limit = bench.spec.capabilities.max_size or 0
        opened: list[object] = []
        small = make_parcel(10)

        def open_payload() -> BinaryIO:
            opened.append(1)
            return small.open()

        parcel = dataclasses.replace(small, size=limit + 1, open=open_payload)
        result = attempt(bench, parcel, bench.target())
        keeps("max_size", result.kind is ErrorKind.TOO_LARGE, result.describe())
        keeps("max_size", not opened, "its payload was opened")
        expect_only(bench, "max_size")


def legal(name: str, rules: NameRules) -> str:
    """The name as the engine would make it legal; only what these test names need."""
    name = unicodedata.normalize("NFC", name)
    name = "".join("_" if char in rules.forbidden else char for char in name)
    while name and name[-1] in rules.forbidden_ends:
        name = name[:-1] + "_"
    while name and name[0] in rules.forbidden_starts:
        name = "_" + name[1:]
    if rules.unit is LengthUnit.BYTES:
        assert len(name.encode()) <= rules.segment_max
    return name
