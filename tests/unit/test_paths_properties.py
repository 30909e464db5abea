"""Proofs over arbitrary metadata: never outside, never illegal, never too long, deterministic, no collisions.

The oracle judges by the vendors' rules and is written apart from the product.
"""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from conveyor.ledger.records import JobRecord, PayloadRecord
from conveyor.paths import LengthUnit, NameRules, Placed, Template, Values, mistakes, place
from conveyor.paths.legal import legaliser
from conveyor.paths.placing import _prepared

WINDOWS = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))]
)

RULES = {  # connectors.md §12 and the vendors' naming pages
    "s3": NameRules(segment_max=1024, path_max=1024),
    "azure_blob": NameRules(
        forbidden="\\",
        forbidden_ends=".",
        segment_max=1024,
        path_max=1024,
        max_segments=254,
        unit=LengthUnit.CHARACTERS,
    ),
    "gcs": NameRules(forbidden="#[]*?", segment_max=1024, path_max=1024),
    "google_drive": NameRules(segment_max=255, path_max=32_000, unit=LengthUnit.CHARACTERS),
    "dropbox": NameRules(
        forbidden="\\",
        forbidden_ends=" .",
        reserved_exact=frozenset(
            {"desktop.ini", "thumbs.db", ".ds_store", "icon\r", ".dropbox", ".dropbox.attr"}
        ),
        segment_max=255,
        path_max=4096,
        unit=LengthUnit.CHARACTERS,
        case_insensitive=True,
    ),
    "onedrive": NameRules(
        forbidden='"*:<>?\\|',
        forbidden_ends=" .",
        forbidden_starts=" ~",
        reserved=WINDOWS,
        reserved_exact=frozenset({".lock", "desktop.ini", "forms"}),
        forbidden_parts=("_vti_",),
        segment_max=255,
        path_max=400,
        unit=LengthUnit.UTF16,
        case_insensitive=True,
    ),
    "box": NameRules(
        forbidden='\\<>:|?*-"',
        forbidden_ends=" ",
        forbidden_starts=" ",
        segment_max=255,
        path_max=4096,
        unit=LengthUnit.CHARACTERS,
        case_insensitive=True,
    ),
    "ftp": NameRules(forbidden="*\\[]", forbidden_ends=" ", forbidden_starts=" -", path_max=1024),
    "sftp": NameRules(segment_max=255, path_max=4096),
    "webdav": NameRules(
        forbidden='\\:*?"<>|#%~',
        forbidden_ends=" .",
        reserved=WINDOWS,
        segment_max=250,
        path_max=2000,
        case_insensitive=True,
    ),
    "tiny": NameRules(segment_max=24, path_max=110, unit=LengthUnit.UTF16, forbidden="_"),
}

TEMPLATES = {
    text: Template.parse(text)
    for text in (
        "{session_id|job_id}/{filename}",
        "in box/{tags.order|none}/{date:%Y/%m/%d}/{session_id}/{meta.a}-{filename}",
        "a/{meta.a}{meta.b}/{labels.customer!slug|nobody}/{stem}.{ext|bin}",
        "{meta.a}/{meta.b}/x{image_id}",
    )
}

NASTY = st.sampled_from(
    [
        *("", ".", "..", "...", "/", "\\", "../..", "..\\..", "/etc/passwd", "a/../../b", "C:\\image.jpg"),
        *("con", "CON.txt", "nul .jpg", "lpt9.tar.gz", "com1", "desktop.ini", ".lock", "Forms", ".DS_Store"),
        *("_vti_", "a_VTI_b", "_vti__vti_", "_v_vti_ti_", " x", "x ", "x.", "~$doc", "-rf", "a\r\nb", "\x00"),
        *("cafe\u0301.jpg", "caf\u00e9.jpg", "\u037e", "\u212b", "<\u0338", "\ud800", "x\udce9.jpg"),
        *("\uffff", "\x7f", "\u202egpj.exe", "%2e%2e%2f", "\u2028", "photo (1).jpg", "*?:|<>\"#%[]"),
        *("a.b.c.d", ".hidden", "x" * 17, "A" * 300 + ".jpeg", "é" * 200 + ".jpg", "🦄" * 300 + ".heic"),
        *("x." + "y" * 300, "。" * 500, " " * 300),
    ]
)  # fmt: skip
ANY = st.one_of(
    NASTY,
    st.text(max_size=40),
    st.text(alphabet=st.characters(exclude_categories=()), max_size=400),
    st.lists(NASTY, max_size=4).map("".join),
)
FIELDS = st.fixed_dictionaries(
    dict.fromkeys(("filename", "session_id", "image_id", "a", "b", "customer", "order"), ANY)
)
SAME = dict.fromkeys(("filename", "session_id", "image_id", "customer", "order"), "x")
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def values_of(fields: dict[str, str]) -> Values:
    job = JobRecord(
        id="job_1",
        created_at=1_763_800_000_123_456,
        filename=fields["filename"],
        media_type="image/jpeg",
        payload=PayloadRecord("pay_1", "x", False, 1, {"sha256": "9f86d081" * 8}),
        session_id=fields["session_id"],
        image_id=fields["image_id"],
        tags=(f"order:{fields['order']}", "vip"),
        meta={"a": fields["a"], "b": fields["b"]},
    )
    return Values.of(job, "dlv_1", "production-s3", {"customer": fields["customer"]})


def units(text: str, unit: LengthUnit) -> int:
    if unit is LengthUnit.BYTES:
        return len(text.encode("utf-8"))
    if unit is LengthUnit.UTF16:
        return sum(2 if ord(character) > 0xFFFF else 1 for character in text)
    return len(text)


def violations(path: str, rules: NameRules) -> list[str]:
    """Everything that is wrong with a path there."""
    found = []
    if units(path, rules.unit) > rules.path_max:
        found.append("path too long")
    if unicodedata.normalize("NFC", path) != path:
        found.append("not NFC")
    for segment in path.split("/"):
        found += [f"{segment!r}: {what}" for what in segment_violations(segment, rules)]
    return found


def segment_violations(segment: str, rules: NameRules) -> list[str]:
    if not segment.strip() or not segment.strip("."):
        return ["empty or dots"]
    found = []
    for character in segment:
        category = unicodedata.category(character)
        if category in ("Cc", "Cs", "Zl", "Zp") or character in "/\\" or character in rules.forbidden:
            found.append(f"character {character!r}")
    if segment[-1] in rules.forbidden_ends or segment[0] in rules.forbidden_starts:
        found.append("begins or ends badly")
    if segment.split(".")[0].rstrip(" ").lower() in rules.reserved:
        found.append("reserved")
    if segment.lower() in rules.reserved_exact:
        found.append("reserved as a whole")
    if any(part in segment.lower() for part in rules.forbidden_parts):
        found.append("reserved part")
    if units(segment, rules.unit) > rules.segment_max:
        found.append("too long")
    return found


def place_or_skip(template: Template, rules: NameRules, fields: dict[str, str]) -> Placed:
    values = values_of(fields)
    assume(template.render(values)[-1].strip())  # no file name at all is an error of its own
    return place(template, rules, values)


@pytest.mark.parametrize("name", RULES)
@given(fields=FIELDS)
@MANY
def test_inside_legal_short_and_deterministic(name: str, fields: dict[str, str]) -> None:
    rules = RULES[name]
    for text, template in TEMPLATES.items():
        placed = place_or_skip(template, rules, fields)
        segments = placed.path.split("/")
        assert len(segments) == len(template.levels), "a value added or removed a level"
        for segment, level in zip(segments, template.levels, strict=True):
            if all(isinstance(piece, str) for piece in level):
                assert segment == "".join(str(piece) for piece in level), "a literal level moved"
        assert violations(placed.path, rules) == []
        _prepared.cache_clear()
        legaliser.cache_clear()
        assert place(Template.parse(text), rules, values_of(fields)) == placed


@pytest.mark.parametrize("name", RULES)
@given(first=FIELDS, second=FIELDS)
@example(
    first=SAME | {"a": "x?/", "b": "y"},
    second=SAME | {"a": "x", "b": "?/y"},
)
@example(
    first=SAME | {"a": "A/", "b": ""},
    second=SAME | {"a": "a/", "b": ""},
)
@MANY
def test_what_had_to_be_changed_does_not_collide(
    name: str, first: dict[str, str], second: dict[str, str]
) -> None:
    rules = RULES[name]
    for template in TEMPLATES.values():
        one, two = (place_or_skip(template, rules, fields) for fields in (first, second))
        rendered = [level_values(template, fields) for fields in (first, second)]
        marked = [
            {change.level for change in placed.changes if "NFC" not in change.reason} for placed in (one, two)
        ]
        for level in marked[0] & marked[1]:
            if rendered[0][level - 1] != rendered[1][level - 1]:
                names = [placed.path.split("/")[level - 1].casefold() for placed in (one, two)]
                assert names[0] != names[1]


def level_values(template: Template, fields: dict[str, str]) -> list[list[str]]:
    values = values_of(fields)
    return [
        [piece if isinstance(piece, str) else piece(values) for piece in level] for level in template.levels
    ]


@pytest.mark.parametrize("name", RULES)
@given(fields=FIELDS, headroom=st.integers(0, 8), taken=st.integers(0, 20))
@MANY
def test_room_asked_for_is_left(name: str, fields: dict[str, str], headroom: int, taken: int) -> None:
    rules, template = RULES[name], TEMPLATES["{session_id|job_id}/{filename}"]
    values = values_of(fields)
    assume(fields["filename"].strip())
    path = place(template, rules, values, headroom=headroom, taken=taken).path
    assert units(path, rules.unit) <= rules.path_max - headroom - taken
    assert units(path.split("/")[-1], rules.unit) <= rules.segment_max - headroom
    assert violations(path, rules) == []


@pytest.mark.parametrize("name", [name for name in RULES if name != "tiny"])
@given(stem=st.text(alphabet="abcXYZ019 ()+,;=@éß写", min_size=1, max_size=30))
@MANY
def test_what_is_legal_everywhere_stays_as_it_is(name: str, stem: str) -> None:
    filename = f"p{stem}x.jpg"
    fields = dict.fromkeys(("session_id", "image_id", "a", "b", "customer", "order"), "s1")
    placed = place(
        TEMPLATES["{session_id|job_id}/{filename}"], RULES[name], values_of(fields | {"filename": filename})
    )
    assert placed == Placed(f"s1/{filename}")


@pytest.mark.parametrize("name", RULES)
@given(text=ANY)
@MANY
def test_mistakes_names_exactly_the_literals_that_the_oracle_refuses(name: str, text: str) -> None:
    assume("/" not in text and "\\" not in text and text.isprintable() and text.strip(". "))
    template = Template.parse(text.replace("{", "{{").replace("}", "}}") + "/{filename}")
    literal = unicodedata.normalize("NFC", text)
    wrong = segment_violations(literal, RULES[name]) if len(template.levels) == 2 else []
    assert bool(mistakes(template, RULES[name])) == bool(wrong)


def test_the_same_in_another_process_with_another_hash_seed() -> None:
    code = (
        "import sys; from conveyor.paths import *; from conveyor.ledger.records import *;"
        "job = JobRecord('job_1', 1, 'a:b\\u0301/c.jpg' * 30, 'image/jpeg',"
        " PayloadRecord('p', 'x', False, 1, {}));"
        "rules = NameRules(forbidden=':', reserved=frozenset({'con', 'nul', 'aux'}));"
        "sys.stdout.buffer.write(place(Template.parse('{job_id}/{uuid}-{filename}'), rules,"
        " Values.of(job, 'dlv_1', 'd')).path.encode())"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1
    assert answers.pop().endswith(b".jpg")
