from __future__ import annotations

import uuid
from datetime import timedelta, timezone

import pytest

from conveyor.errors import Exit
from conveyor.ledger.records import JobRecord, PayloadRecord
from conveyor.paths import DATE_CODES, DEFAULT_TEMPLATE, FILTERS, VARIABLES, Template, TemplateError, Values

MOMENT = 1_763_800_000_123_456  # 2025-11-22T08:26:40.123456Z, a Saturday in ISO week 47


def job(filename: str = "IMG 0001.JPG", **fields: object) -> JobRecord:
    payload = PayloadRecord("pay_1", "x", False, 1, {"sha256": "9f86d081" * 8})
    return JobRecord("job_1", MOMENT, filename, "image/jpeg", payload, **fields)  # type: ignore[arg-type]


def render(text: str, record: JobRecord | None = None, **labels: str) -> str:
    return "/".join(Template.parse(text).render(Values.of(record or job(), "dlv_1", "production-s3", labels)))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{filename}", "IMG 0001.JPG"),
        ("{stem}|{ext}", "IMG 0001|JPG"),
        ("{job_id}-{delivery_id}-{destination}", "job_1-dlv_1-production-s3"),
        ("{mime_type!upper}", "IMAGE/JPEG"),
        ("{sha256:.8}", "9f86d081"),
        ("{cycle:02d}", "01"),
        ("{date}", "2025-11-22"),
        ("{date:%Y/%m/%d}/{filename!lower}", "2025/11/22/img 0001.jpg"),
        ("{date:%d.%b %y, %H:%M:%S.%f}", "22.Nov 25, 08:26:40.123456"),
        ("{date!upper:%A %B}", "SATURDAY NOVEMBER"),
        ("{date:%G-W%V-%u %j %a %p%I %z %%}", "2025-W47-6 326 Sat AM08 +0000 %"),
        ("/leading/{filename}", "leading/IMG 0001.JPG"),
        ("{{literal}}/{filename}", "{literal}/IMG 0001.JPG"),
        ("{session_id|none}", "none"),
        ("{session_id|}x", "x"),
        ("{session_id|job_id!upper}", "JOB_1"),
        ("{session_id|image_id|'date'}", "date"),
        ("{tags.day|date:%Y}", "2025"),
        ("{session_id|text}", "text"),
        ("{filename!lower!slug}", "img-0001.jpg"),
        ("{image_index|x}", "x"),
    ],
)
def test_rendering(template: str, expected: str) -> None:
    assert render(template) == expected


def test_the_uuid_is_the_deliverys_own() -> None:
    template = Template.parse("{uuid}")
    first, again, other = (
        template.render(Values.of(job(), delivery, "d"))[0] for delivery in ("dlv_1", "dlv_1", "dlv_2")
    )
    assert uuid.UUID(first).version == 5
    assert first == again != other


def test_the_example_of_the_configuration() -> None:
    text = "{tags.order|none}/{date:%Y/%m/%d}/{session_id}/{image_index:03d}-{filename}"
    record = job("p.jpg", session_id="ses_1", image_index=7, tags=("order:A-1",))
    assert render(text, record) == "A-1/2025/11/22/ses_1/007-p.jpg"
    assert Template.parse(text).names == {"tags.order", "date", "session_id", "image_index", "filename"}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (("order:7",), "7"),
        (("order:7", "order:8"), "8"),
        (("order",), "true"),
        (("order:7", "order"), "true"),
        (("order:a:b",), "a:b"),
        (("order:",), "none"),
        (("orders:7", "xorder:7"), "none"),
        ((), "none"),
    ],
)
def test_tags(tags: tuple[str, ...], expected: str) -> None:
    assert render("{tags.order|none}", job(tags=tags)) == expected


def test_meta_labels_and_numbers_in_text() -> None:
    record = job(meta={"page no": "7", "kind": "x"}, image_index=0)
    assert render(
        "{meta.page no:03d}{meta.kind:03d}{labels.customer}{image_index}", record, customer="acme"
    ) == ("007xacme0")


def test_the_date_is_in_the_configured_time_zone() -> None:
    values = Values.of(job(), "dlv_1", "d", {}, timezone(timedelta(hours=16)))
    assert Template.parse("{date:%Y-%m-%d %H%z}").render(values) == ("2025-11-23 00+1600",)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("a.b.JPG", "a.b+JPG"),
        ("README", "README+"),
        (".profile", ".profile+"),
        ("x.", "x+"),
        ("..", "..+"),
    ],
)
def test_stem_and_extension(filename: str, expected: str) -> None:
    assert render("{stem}+{ext}", job(filename)) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Été à Paris (2).JPG", "ete-a-paris-2.jpg"),
        ("写真 １.jpg", "写真-1.jpg"),
        ("..", ""),
        ("a - . b", "a.b"),
        ("__x__", "x"),
        ("Straße", "straße"),
    ],
)
def test_slug(given: str, expected: str) -> None:
    assert FILTERS["slug"].apply(given) == expected


@pytest.mark.parametrize(
    ("text", "column", "nearest", "said"),
    [
        ("", 1, None, "empty"),
        ("///", 1, None, "empty"),
        ("{sesion_id}/x", 2, "session_id", "unknown variable 'sesion_id'"),
        ("a/{sessionId}", 4, "session_id", "unknown variable"),
        ("{tag.order}", 2, "tags.order", "unknown variable"),
        ("{session_id|jobid}", 13, "job_id", "quotes"),
        ("{}", 2, None, "name is missing"),
        ("{tags.}", 2, None, "needs a key"),
        ("{filename!slgu}", 11, "slug", "unknown filter"),
        ("{filename!zzz}", 11, None, "filters are lower"),
        ("{filename:q}", 11, None, "unknown format"),
        ("{filename:.0}", 11, None, "unknown format"),
        ("{date:%Q}", 7, None, "unknown date code '%Q'"),
        ("{date:%Y%}", 9, None, "unknown date code"),
        ("{date:%Y/../%m}", 7, None, "each level of a date format"),
        ("{date:%Y//%m}", 7, None, "each level of a date format"),
        ("{tags.x|date:%Y/%m}", 9, None, "number of levels"),
        ("{filename", 1, None, "not closed"),
        ("a{b{c}", 2, None, "not closed"),
        ("{session_id|'x}", 13, None, "quote"),
        ("a}b", 2, None, "'}' without '{'"),
        ("a//{filename}", 2, None, "empty level"),
        ("a/./{filename}", 3, None, "cannot be '.'"),
        ("a/../{filename}", 3, None, "cannot be '..'"),
        ("photos/", 8, None, "without a file name"),
        ("a\\b", 2, None, "no separator"),
        ("a\x00b", 2, None, "U+0000"),
        ("{session_id|a/b}", 13, None, "cannot add levels"),
        ("{session_id|a\\b}", 13, None, "cannot add levels"),
        ("{session_id|'a/b'}", 13, None, "cannot add levels"),
    ],
)
def test_mistakes_name_the_column_and_the_nearest_name(
    text: str, column: int, nearest: str | None, said: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse(text)
    assert caught.value.column == column
    assert caught.value.nearest == nearest
    assert said in str(caught.value)
    assert caught.value.exit_code is Exit.CONFIG


def test_a_family_that_is_not_known_here_is_refused() -> None:
    with pytest.raises(TemplateError, match="unknown variable"):
        Template.parse("{labels.customer}", known_prefixes=("tags.",))


def test_equal_texts_are_equal_templates() -> None:
    assert Template.parse(DEFAULT_TEMPLATE) == Template.parse(DEFAULT_TEMPLATE)
    assert len({Template.parse("a"), Template.parse("a"), Template.parse("b")}) == 2


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_renders_on_a_full_job(name: str) -> None:
    record = job(session_id="s", image_id="i", image_index=1, source="kiosk")
    assert render(f"{{{name}}}", record)


@pytest.mark.parametrize("code", DATE_CODES)
def test_every_date_code_agrees_with_the_c_library(code: str) -> None:
    moment = Values.of(job(), "dlv_1", "d").moment()
    assert DATE_CODES[code].write(moment) == moment.strftime(f"%{code}")
