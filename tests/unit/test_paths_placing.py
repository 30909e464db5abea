from __future__ import annotations

import re
from pathlib import Path

import pytest

from conveyor.ledger.records import JobRecord, PayloadRecord
from conveyor.paths import NameRules, PathError, Template, Values, mistakes, place
from conveyor.paths.reference import filled

STRICT = NameRules(
    forbidden=':?*"<>|',
    forbidden_ends=" .",
    forbidden_starts="~ ",
    reserved=frozenset({"con"}),
    reserved_exact=frozenset({"desktop.ini"}),
    forbidden_parts=("_vti_",),
)


def placed(text: str, filename: str, rules: NameRules = STRICT, **fields: object) -> tuple[str, list[str]]:
    payload = PayloadRecord("pay_1", "x", False, 1, {})
    job = JobRecord("job_1", 1_763_800_000_000_000, filename, "image/jpeg", payload, **fields)  # type: ignore[arg-type]
    result = place(Template.parse(text), rules, Values.of(job, "dlv_1", "d"))
    return result.path, [change.reason for change in result.changes]


@pytest.mark.parametrize(
    ("filename", "path", "reason"),
    [
        ("photo (1) #2%.jpg", r"photo \(1\) #2%\.jpg", None),
        ("cafe\u0301.jpg", "caf\u00e9\\.jpg", "accents written in NFC"),
        ("../../etc/passwd", r"\.\._\.\._etc_passwd-[0-9a-f]{8}", "'/' is not allowed"),
        ("C:\\fakepath\\image.jpg", r"C__fakepath_image-[0-9a-f]{8}\.jpg", "':' is not allowed"),
        ("..", r"__-[0-9a-f]{8}", "only dots"),
        ("a\r\nb.jpg", r"a__b-[0-9a-f]{8}\.jpg", "'\\r' is not allowed"),
        ("photo.", r"photo_-[0-9a-f]{8}", "cannot end with '.'"),
        ("~$a.doc", r"_\$a-[0-9a-f]{8}\.doc", "cannot begin with '~'"),
        ("CON.tar.gz", r"_CON\.tar-[0-9a-f]{8}\.gz", "a reserved name"),
        ("Desktop.INI", r"_Desktop-[0-9a-f]{8}\.INI", "a reserved name"),
        ("a_VTI_b.jpg", r"a_b-[0-9a-f]{8}\.jpg", "holds a reserved word"),
        ("x" * 300 + ".jpeg", r"x{241}-[0-9a-f]{8}\.jpeg", "longer than 255 bytes"),
        ("é" * 200 + ".jpg", r"é{121}-[0-9a-f]{8}\.jpg", "longer than 255 bytes"),
        ("x." + "y" * 300, r"x\.y{244}-[0-9a-f]{8}", "longer than 255 bytes"),
        ("caf\udce9.jpg", r"caf_-[0-9a-f]{8}\.jpg", "'\\udce9' is not allowed"),
    ],
)
def test_file_names(filename: str, path: str, reason: str | None) -> None:
    result, reasons = placed("in/{filename}", filename)
    assert result.startswith("in/")
    assert re.fullmatch(path, result[3:]), result
    assert reasons == ([reason] if reason else [])


def test_a_missing_value_keeps_its_level() -> None:
    path, reasons = placed("{session_id}/{filename}", "p.jpg")
    assert re.fullmatch(r"_-[0-9a-f]{8}/p\.jpg", path)
    assert reasons == ["empty"]


@pytest.mark.parametrize(
    ("text", "filename"), [("{tags.name}", "p.jpg"), ("in/{session_id}", "p"), ("{filename}", " ")]
)
def test_no_file_name_at_all_is_an_error_with_its_cure(text: str, filename: str) -> None:
    with pytest.raises(PathError, match="renders to no file name") as caught:
        placed(text, filename)
    assert caught.value.cure


def test_a_long_path_is_shortened_in_its_values_and_never_in_its_literal_levels() -> None:
    rules = NameRules(path_max=120)
    path, reasons = placed(
        "keep this folder/{session_id}/{filename}", "f" * 90 + ".jpg", rules, session_id="s" * 90
    )
    folder, session, name = path.split("/")
    assert folder == "keep this folder"
    assert session.startswith("sss")
    assert name.endswith(".jpg")
    assert len(path) <= 120
    assert reasons == ["the whole path is longer than 120 bytes"] * 2


def test_literal_text_that_is_too_long_is_an_error() -> None:
    with pytest.raises(PathError, match="longer than the 60"):
        placed("l" * 55 + "/{filename}", "photo.jpg", NameRules(path_max=60))


def test_too_many_levels_are_an_error() -> None:
    with pytest.raises(PathError, match="at most 2"):
        placed("a/b/{filename}", "p.jpg", NameRules(max_segments=2))


def test_mistakes_of_the_template_itself() -> None:
    assert mistakes(Template.parse("fine/{filename}"), STRICT) == ()
    assert mistakes(Template.parse("a:b/con/{filename}"), STRICT) == (
        "the level 'a:b': ':' is not allowed",
        "the level 'con': a reserved name",
    )
    assert "at most 1" in mistakes(Template.parse("a/{filename}"), NameRules(max_segments=1))[0]


def test_rules_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no name legal"):
        placed("{filename}", "?", NameRules(forbidden="_-~x0?."))


def test_the_documents_tables_are_those_of_the_vocabulary() -> None:
    document = (Path(__file__).parents[2] / "docs" / "path-templates.md").read_text(encoding="utf-8")
    assert filled(document) == document, "run: python -m conveyor.paths.reference docs/path-templates.md"


@pytest.mark.parametrize(
    ("text", "filename", "rules"),
    [
        ("in/{filename}", "../../etc/passwd", NameRules()),
        ("{filename}", "what?.jpg", STRICT),
        ("{filename}", "a:b.jpg", STRICT),
    ],
)
def test_the_documents_examples_are_true(text: str, filename: str, rules: NameRules) -> None:
    document = (Path(__file__).parents[2] / "docs" / "path-templates.md").read_text(encoding="utf-8")
    assert f"`{placed(text, filename, rules)[0]}`" in document
