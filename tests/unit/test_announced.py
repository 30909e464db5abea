"""What plugins announce for the config: path words, secrets, destinations from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conveyor.config import LedgerSource, load
from conveyor.contract import ConnectorSpec, DeliveryError, ErrorKind
from conveyor.delivery.placing import Placer
from conveyor.hooks import PathFilter, PathVariable, PayloadSource, SecretResolver, Transform
from conveyor.hookspecs import hookimpl
from conveyor.ledger.records import JobRecord, PayloadRecord
from conveyor.redact import secrets_of
from conveyor.registry import Registry, default_registry

CONFIG = """\
destinations:
  hook: {{type: webhook, url: "https://example.com/", {more}}}
"""


def registry(**hooks: Callable[[], Any]) -> Registry:
    known = default_registry()
    module = SimpleNamespace(**{name: hookimpl(function) for name, function in hooks.items()})
    for function in hooks.values():
        function.__module__ = "plugin"
    known.admit(known.plugins.register(module, "mine"))
    return known


def config(folder: Path, more: str) -> Path:
    (folder / "conveyor.yaml").write_text(CONFIG.format(more=more))
    return folder / "conveyor.yaml"


def job() -> JobRecord:
    payload = PayloadRecord("pay_1", "x", False, 3, {"sha256": "00"})
    return JobRecord("job_1", 0, "a.jpg", "image/jpeg", payload, tags=("order:7",))


def words(reading: Callable[..., Any], applying: Callable[[str], Any]) -> Registry:
    def conveyor_path_variables():
        return [PathVariable("shop", "the shop", reading)]

    def conveyor_path_filters():
        return [PathFilter("mirror", "backwards", applying)]

    return registry(
        conveyor_path_variables=conveyor_path_variables, conveyor_path_filters=conveyor_path_filters
    )


def test_templates_say_a_plugins_words_and_stay_confined(tmp_path: Path) -> None:
    known = words(lambda parcel, place: f"../{place.type}/{parcel.tags[0]}", lambda text: text[::-1])
    path = config(tmp_path, 'path_template: "{shop}/{stem!mirror!upper}.x"')
    read = load(path, registry=known, strict=True)
    destination = read.source.get("hook")
    assert destination is not None
    placed = Placer()(destination, job(), "dlv_1", 1)
    folder, name = placed.path.split("/")
    assert name == "A.x"
    assert ".." not in folder.split("/")
    assert "webhook" in folder


def test_a_word_that_fails_holds_the_destination_and_is_counted(tmp_path: Path) -> None:
    known = words(lambda parcel, place: parcel.open(), str)
    path = config(tmp_path, 'path_template: "{shop}/{filename}"')
    destination = load(path, registry=known, strict=True).source.get("hook")
    assert destination is not None
    with pytest.raises(DeliveryError, match="'shop' of plugin 'mine' failed: TypeError") as caught:
        Placer()(destination, job(), "dlv_1", 1)
    assert caught.value.kind is ErrorKind.CONFIG
    assert Placer().attempt(destination, job(), "dlv_1", 1) is None
    assert known.plugins.failures["mine", "conveyor_path_variables"] == 2


@pytest.mark.parametrize("name", ["filename", "date", "tags", "Shop", "a-b"])
def test_a_built_in_or_odd_name_is_refused(name: str) -> None:
    def conveyor_path_variables():
        return [PathVariable(name, "?", lambda parcel, place: "")]

    known = registry(conveyor_path_variables=conveyor_path_variables)
    (problem,) = known.problems
    assert "mine" in problem.message


def vault(resolve: Callable[[str], Any], tag: str = "vault") -> Registry:
    def conveyor_secret_resolvers():
        return [SecretResolver(tag, "kept elsewhere", resolve)]

    return registry(conveyor_secret_resolvers=conveyor_secret_resolvers)


def test_a_tag_is_resolved_and_the_value_is_a_secret(tmp_path: Path) -> None:
    known = vault(lambda text: f"value-of-{text}")
    read = load(
        config(tmp_path, 'secret: !vault "${WHO}/key"'), registry=known, strict=True, env={"WHO": "acme"}
    )
    destination = read.source.get("hook")
    assert destination is not None
    assert "value-of" not in repr(destination)
    assert "value-of-acme/key" in secrets_of(destination.options)


def test_settings_take_tags_too(tmp_path: Path) -> None:
    (tmp_path / "conveyor.yaml").write_text("ledger: !vault db\ndestinations: {}\n")
    known = vault(lambda text: f"sqlite:///{text}.sqlite")
    assert load(tmp_path / "conveyor.yaml", registry=known).settings.ledger.endswith("db.sqlite")


def test_a_resolver_that_fails_is_a_mistake_at_its_line_that_quotes_nothing(tmp_path: Path) -> None:
    def resolve(text: str) -> str:
        raise RuntimeError("token=hunter2")

    known = vault(resolve)
    read = load(config(tmp_path, "secret: !vault x"), registry=known)
    (problem,) = read.problems
    assert (problem.line, problem.destination) == (2, "hook")
    assert "!vault cannot be resolved: its plugin raised RuntimeError" in problem.message
    assert "hunter2" not in str(problem)
    assert known.plugins.failures["mine", "conveyor_secret_resolvers"] == 1


def test_an_unknown_tag_stays_a_mistake(tmp_path: Path) -> None:
    (problem,) = load(config(tmp_path, "secret: !vault x"), registry=default_registry()).problems
    assert "unknown tag !vault" in problem.message
    assert "there already" in vault(str, tag="file").problems[0].message


class Customers:
    """A provider of destinations."""

    name = "customers"

    def __init__(self) -> None:
        self.version = 1
        self.documents: dict[str, Any] = {"acme": {"type": "webhook", "url": "https://acme.example/"}}
        self.broken = False

    def revision(self) -> int:
        if self.broken:
            raise RuntimeError("the database is away")
        return self.version

    def list(self) -> dict[str, Any]:
        return self.documents


def test_destinations_from_elsewhere_are_validated_and_outlast_an_outage(tmp_path: Path) -> None:
    customers = Customers()

    def conveyor_destination_sources():
        return [customers]

    known = registry(conveyor_destination_sources=conveyor_destination_sources)
    read = load(config(tmp_path, "conflict: rename"), registry=known)
    (documents,) = known.announced.documents()
    source = LedgerSource(documents, read.source, max_age=0)
    acme = source.get("acme")
    assert acme is not None
    assert acme.problem is None
    customers.documents["bolt"] = {"type": "webhook", "url": "${HOME}"}
    customers.version = 2
    bolt = source.get("bolt")
    assert bolt is not None
    assert bolt.problem is not None
    customers.broken = True
    assert [each.id for each in source.list()] == ["acme", "bolt"]
    assert known.plugins.failures["mine", "conveyor_destination_sources"] >= 1


def test_a_document_that_is_none_costs_the_others_nothing(tmp_path: Path) -> None:
    customers = Customers()
    customers.documents["bolt"] = None
    known = registry(conveyor_destination_sources=lambda: [customers])
    read = load(config(tmp_path, "conflict: rename"), registry=known)
    (documents,) = known.announced.documents()
    source = LedgerSource(documents, read.source, max_age=0)
    sound = {each.id: each.problem is None for each in source.list()}
    assert (sound["acme"], sound["bolt"]) == (True, False)


def test_a_provider_that_never_answered_has_no_destinations(tmp_path: Path) -> None:
    customers = Customers()
    customers.broken = True
    known = registry(conveyor_destination_sources=lambda: [customers])
    read = load(config(tmp_path, "conflict: rename"), registry=known)
    (documents,) = known.announced.documents()
    assert list(LedgerSource(documents, read.source, max_age=0).list()) == []


def test_what_is_announced_wrongly_is_its_plugins_problem() -> None:
    known = registry(
        conveyor_path_variables=lambda: ["shop"],
        conveyor_path_filters=lambda: [1],
        conveyor_secret_resolvers=lambda: [PayloadSource("x", print)],
        conveyor_destination_sources=lambda: [object()],
        conveyor_transforms=lambda: [print],
        conveyor_payload_sources=lambda: [PayloadSource("x", print), PayloadSource("x", print)],
    )
    assert len(known.problems) == 6
    assert list(known.announced.payloads) == ["x"]
    assert {"webhook", "s3"} <= set(known.types())


class Nameless:
    """A provider whose name cannot be had."""

    @property
    def name(self) -> str:
        raise RuntimeError("no name yet")

    def revision(self) -> int:
        return 1

    def list(self) -> dict[str, Any]:
        return {}


SPEC: dict[str, Any] = {"type": "thing", "summary": "A thing", "factory": "a:b", "options": "c:d"}
WRONG: Any = ["a list"]
NOTHING: Any = None


@pytest.mark.parametrize(
    ("hook", "item"),
    [
        ("conveyor_connectors", ConnectorSpec(**{**SPEC, "contract": "1"})),
        ("conveyor_connectors", ConnectorSpec(**{**SPEC, "factory": None})),
        ("conveyor_connectors", ConnectorSpec(**{**SPEC, "type": None})),
        ("conveyor_connectors", ConnectorSpec(**{**SPEC, "type": WRONG})),
        ("conveyor_path_variables", PathVariable(WRONG, "?", lambda parcel, place: "")),
        ("conveyor_path_filters", PathFilter(WRONG, "?", str)),
        ("conveyor_secret_resolvers", SecretResolver(WRONG, "?", str)),
        ("conveyor_payload_sources", PayloadSource(WRONG, print)),
        ("conveyor_transforms", Transform(NOTHING, "?", lambda parcel, out: None)),
        ("conveyor_destination_sources", Nameless()),
    ],
)
def test_a_field_of_another_type_is_its_plugins_problem_and_takes_nothing_down(hook: str, item: Any) -> None:
    good = PathVariable("good", "?", lambda parcel, place: "")
    known = registry(**{"conveyor_path_variables": lambda: [good], hook: lambda: [item]})
    (problem,) = known.problems
    assert "plugin 'mine'" in problem.message
    assert {"webhook", "s3"} <= set(known.types())
    (mine,) = (plugin for plugin in known.plugins if plugin.name == "mine")
    assert mine.problem is not None


def test_a_transform_that_nobody_brings_quarantines_its_destination(tmp_path: Path) -> None:
    known = registry(conveyor_transforms=lambda: [Transform("strip-exif", "?", lambda parcel, out: None)])
    good = load(config(tmp_path, "transforms: [strip-exif]"), registry=known, strict=True).source.get("hook")
    assert good is not None
    assert good.transforms == ("strip-exif",)
    (problem,) = load(config(tmp_path, "transforms: [strip-exiv]"), registry=known).problems
    assert problem.destination == "hook"
    assert "there is no transform 'strip-exiv'" in problem.message
    assert "strip-exif" in str(problem.cure)
