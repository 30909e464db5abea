# ruff: noqa: E501 -- messages are compared whole
"""Wrong configs: every mistake at once, with its place and the nearest valid name; quarantine and strictness."""

from __future__ import annotations

import pytest

from conveyor.config import load
from conveyor.config.broker import FORMS as BROKER_FORMS
from conveyor.errors import ConfigError, Problem

BAD = """\
ledgr: sqlite:///x.db
workers: {processes: zero, treads: 4}
retention: {attempts: soon}
broker: kafka://x
time_zone: Mars/Olympus
defaults:
  path_template: "{sesion_id}/{filename}"
  conflict: ovrwrite
include: [not-there.yaml]
default_destinations: [production-s4]
presets:
  shared: {type: box, access_key: "${SHARED_KEY}"}
destinations:
  production-s3:
    type: box
    acces_key: x
    port: yes
    mode: fsat
    labels: {customer: true}
    retry: {schedule: 5s, jiter: 1}
    path_template: "{filenam}"
  shared-one:
    extends: shared
    place: !file no/such/file
    part_size: 3 parsecs
  mistyped: {type: bax}
  typeless: {place: x}
  "bad id": {type: box, access_key: k}
  not-a-mapping: 5
  twice: {type: box, access_key: k, accessKey: k, secrets: 5.5, headers: [x]}
"""


def messages(problems):
    return [(p.line, p.column, p.field, p.message, p.cure) for p in problems]


def test_all_mistakes_come_at_once_with_place_and_nearest_name(write, registry, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(write(BAD), env={}, registry=registry)
    missing = f"the file {tmp_path}/no/such/file cannot be read: No such file or directory"
    env_cure = "export SHARED_KEY=…, write ${SHARED_KEY:-default}, or read it from a file: !file PATH"
    types = "installed types: box, hole, signed, slowbox"
    assert messages(caught.value.problems) == [
        (1, 1, "ledgr", "unknown option", "did you mean 'ledger'?"),
        (2, 22, "workers.processes", "expected a whole number", None),
        (2, 28, "workers.treads", "unknown option", "did you mean 'threads'?"),
        (3, 23, "retention.attempts", "expected a duration such as 30s, 2m, 1h or 7d (a bare number is seconds)", None),
        (4, 9, "broker", BROKER_FORMS, None),
        (5, 12, "time_zone", "not a time zone; expected a name such as UTC or Europe/Berlin", None),
        (7, 18, "defaults.path_template", "unknown variable 'sesion_id', at character 2; did you mean 'session_id'?", None),
        (8, 13, "defaults.conflict", "expected 'rename', 'overwrite', 'skip' or 'fail'", "did you mean 'overwrite'?"),
        (9, 11, "include[0]", "there is no file 'not-there.yaml'", None),
        (10, 24, "default_destinations[0]", "no destination 'production-s4' here", "did you mean 'production-s3'?"),
        (12, 35, "destinations.shared-one.access_key", "the environment variable SHARED_KEY is not set", env_cure),
        (14, 3, "destinations.production-s3.access_key", "required, but missing", None),
        (16, 5, "destinations.production-s3.acces_key", "unknown option", "did you mean 'access_key'?"),
        (17, 11, "destinations.production-s3.port", "expected a whole number", None),
        (18, 11, "destinations.production-s3.mode", "expected 'fast' or 'slow'", "did you mean 'fast'?"),
        (19, 24, "destinations.production-s3.labels.customer", "expected text", "put it in quotes"),
        (20, 23, "destinations.production-s3.retry.schedule", "expected a list", None),
        (20, 27, "destinations.production-s3.retry.jiter", "unknown option", "did you mean 'jitter'?"),
        (21, 20, "destinations.production-s3.path_template", "unknown variable 'filenam', at character 2; did you mean 'filename'?", None),
        (24, 12, "destinations.shared-one.place", missing, "relative paths are relative to the config file"),
        (25, 16, "destinations.shared-one.part_size", "expected a size such as 65536, 32KiB or 5MB", None),
        (26, 20, "destinations.mistyped.type", "unknown destination type 'bax'", "did you mean 'box'?"),
        (27, 3, "destinations.typeless.type", "required, but missing", types),
        (28, 3, "destinations.bad id", "not a usable destination id", "up to 128 letters, digits, '.', '_' and '-', beginning with a letter or digit"),
        (29, 3, "destinations.not-a-mapping", "expected a mapping of options to values", None),
        (30, 37, "destinations.twice", "accessKey and access_key are the same option", "keep access_key"),
        (30, 74, "destinations.twice.headers", "expected a mapping of names to values", None),
    ]  # fmt: skip
    assert all(problem.file == str(tmp_path / "conveyor.yaml") for problem in caught.value.problems)
    text = str(caught.value)
    assert (
        f"{tmp_path}/conveyor.yaml:16:5: destinations.production-s3.acces_key: unknown option\n  → did you"
        in text
    )


def test_one_destinations_mistakes_quarantine_it_alone(read):
    config = read(
        """
        destinations:
          good: {type: box, access_key: k}
          bad: {type: box, port: 0, name: Bad one, labels: {a: b}, is_active: false}
          gone: {type: nothing}
        """
    )
    good, bad, gone = config.source.list()
    assert good.problem is None
    assert (bad.name, bad.labels, bad.is_active, bad.options) == ("Bad one", {"a": "b"}, False, None)
    assert bad.problem.destination == "bad"
    assert bad.problem.line == 4
    assert bad.problem.message == "required, but missing (and 1 more mistake: conveyor validate)"
    assert (gone.type, gone.spec.type, gone.problem.message) == (
        "nothing",
        "nothing",
        "unknown destination type 'nothing'",
    )
    assert [problem.destination for problem in config.problems] == ["bad", "bad", "gone"]


def test_under_strict_a_single_mistake_stops_the_load(read):
    with pytest.raises(ConfigError, match="required, but missing") as caught:
        read("destinations: {bad: {type: box}}", strict=True)
    assert caught.value.exit_code == 78


def test_a_mistake_in_a_preset_quarantines_those_who_use_it(read):
    config = read(
        """
        presets: {p: {type: box, access_key: "${NOPE}"}}
        destinations:
          a: {extends: p}
          b: {extends: p, access_key: own}
        """
    )
    assert [bool(destination.problem) for destination in config.source.list()] == [True, False]


@pytest.mark.parametrize(
    ("presets", "extends", "says"),
    [
        ("{sharedd: {}}", "shared", "unknown preset 'shared'\n  → did you mean 'sharedd'"),
        ("{}", "shared", "unknown preset 'shared'\n  → there are no presets"),
        ("{a: {extends: b}, b: {extends: [a]}}", "a", "presets extend each other: a → b → a"),
        ("{}", "{x: y}", "expected the name of a preset"),
    ],
)
def test_wrong_presets(read, presets, extends, says):
    config = read(
        f"presets: {presets}\ndestinations: {{d: {{type: box, access_key: k, extends: {extends}}}}}"
    )
    assert len(config.problems) == 1
    assert says in str(config.problems[0])


def test_an_id_defined_twice_is_used_neither_way(read, write):
    write("destinations: {a: {type: box, access_key: other}}", "more.yaml")
    config = read(
        """
        include: [more.yaml]
        destinations:
          a: {type: box, access_key: k}
          b: {type: box, access_key: one}
          b: {type: box, access_key: two}
          c: {type: box, access_key: k}
        """
    )
    assert {d.id: bool(d.problem) for d in config.source.list()} == {"a": True, "b": True, "c": False}
    texts = [str(problem) for problem in config.problems]
    assert any(
        "conveyor.yaml:6:3: destinations.b: the key 'b' is there already, in line 5" in text for text in texts
    )
    assert any("more.yaml:1:16: destinations.a: 'a' is defined already, in" in text for text in texts)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"conveyor.yaml": "destinations: [x]"}, "destinations: expected a mapping of names to options"),
        ({"conveyor.yaml": "- x"}, "expected a mapping of options to values"),
        ({"conveyor.yaml": "a: [1"}, "conveyor.yaml:2:1: while parsing"),
        ({"conveyor.yaml": "<<: {}\n"}, "merge keys"),
        ({"conveyor.yaml": "workers: 5"}, "workers: expected a mapping of options to values"),
        ({"conveyor.yaml": "include: [x.yaml]", "x.yaml": "a: [1"}, "x.yaml:2:1: while parsing"),
        ({"conveyor.yaml": "include: [x.yaml]", "x.yaml": "ledger: y"}, "x.yaml:1:1: ledger: unknown option\n  → settings belong"),
        ({"conveyor.yaml": "ledger: mysql://x"}, "ledger: expected sqlite:///path"),
        ({"conveyor.yaml": "ledger: 'sqlite:///:memory:'"}, "the ledger must be a file"),
        ({"conveyor.yaml": "ledger: ${DB_URL}"}, "ledger: the environment variable DB_URL is not set"),
        ({"conveyor.yaml": "payloads: ftp://bucket/x"}, "payloads: expected a folder"),
        ({"conveyor.yaml": "network: {allow_private: [banana]}"}, "network.allow_private[0]: expected an address range"),
        ({"conveyor.yaml": "network: {allow_private: [169.254.0.0/16]}"}, "network.allow_private[0]: link-local, metadata"),
        ({"conveyor.yaml": "network: {proxy: 'https://x'}"}, "network.proxy: expected http://host:port"),
        ({"conveyor.yaml": "presets: {p: {}}\ninclude: [x.yaml]", "x.yaml": "presets: {p: {}}"}, "presets.p: 'p' is defined already"),
        ({"conveyor.yaml": "workers: {lease: 1s}"}, "workers.lease: must be greater than or equal to 5"),
        ({"conveyor.yaml": "defaults: {retry: {schedule: [5s, later]}}"}, "defaults.retry.schedule[1]: expected a duration"),
        ({"conveyor.yaml": "time_zone: UTC\ntimeZone: UTC"}, "timeZone and time_zone are the same option"),
    ],
)  # fmt: skip
def test_global_mistakes_stop_the_load(write, registry, files, says):
    for name, text in files.items():
        write(text, name)
    with pytest.raises(ConfigError) as caught:
        load(write(files["conveyor.yaml"]), env={}, registry=registry)
    assert len(caught.value.problems) == 1
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("secrets: {a: b}", "secrets: expected text or expected a list"),
        ("secrets: [a, [b]]", "secrets[1]: expected text"),
        ("place: true", "place: expected text\n  → put it in quotes"),
        ("place: null", "place: expected text"),
        ("port: 70.5", "port: expected a whole number"),
        ("proof: {max_age: 1h}", "proof.name: required, but missing"),
        ("proof: {name: x, maxage: 1}", "proof.maxage: unknown option\n  → did you mean 'max_age'?"),
        ("is_active: maybe", "is_active: expected true or false"),
        ("port: 80\n    mode: slow", "destinations.a: port 80 is never slow"),
        ("access_key: ${}", "expected ${VARIABLE} or ${VARIABLE:-default}\n  → a literal ${ is written $${"),
        ("access_key: ${A", "expected ${VARIABLE}"),
        ("access_key: ${A:-${B}}", "expected ${VARIABLE}"),
        ("access_key: ${EMPTY}", "the environment variable EMPTY is empty"),
        ("place: !file .", "cannot be read"),
        ("place: !file binary", "is not UTF-8 text"),
        ("place: !file large", "is larger than 1 MiB"),
        ("place: !env x", "unknown tag !env"),
        ("network: {allow_private: [x]}", "network.allow_private[0]: expected an address range"),
        ("expire_after: 0", "expire_after: must be greater than 0"),
    ],
)
def test_mistakes_in_options(read, tmp_path, option, says):
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * (1024 * 1024 + 1))
    key = "" if option.startswith("access_key") else "access_key: k\n    "
    config = read(f"destinations:\n  a:\n    type: box\n    {key}{option}\n", env={"EMPTY": ""})
    assert [says in str(problem) for problem in config.problems] == [True]


def test_what_a_preset_of_the_type_says_cannot_be_contradicted(read):
    config = read("destinations: {a: {type: slowbox, access_key: k, mode: fast}}")
    assert "type slowbox means mode: slow" in str(config.problems[0])


def test_a_policy_that_the_type_does_not_offer_is_a_mistake_where_it_is_written(read):
    config = read("destinations: {a: {type: hole, access_key: k, conflict: rename}}")
    assert str(config.problems[0]).endswith(
        "type hole does not offer rename\n  → write one of: overwrite, skip"
    )


def test_no_message_holds_a_secret(read):
    config = read(
        """
        destinations:
          a: {type: box, access_key: {x: S3CRET}, secrets: [S3CRET, [S3CRET]], acces_key: S3CRET, port: S3CRET}
          b: {type: box, access_key: "${S3CRET-}"}
        """,
    )
    texts = "\n".join(str(problem) + repr(problem) for problem in config.problems)
    assert len(config.problems) >= 4
    assert "S3CRET" not in texts


def test_an_unknown_type_may_be_that_of_a_plugin_that_did_not_load(read, registry):
    registry.problems.append(Problem("plugin 'x' cannot be loaded"))
    config = read("destinations: {a: {type: xxx, access_key: k}}")
    assert config.problems[0].cure.endswith("; a plugin could not be loaded: see `conveyor connectors`")


PATHS = """\
payloads: {path}
key: {{file: {path}}}
plugins: [{path}]
network: {{ca_bundle: {path}}}
include: [{path}]
destinations:
  b: {{type: box, access_key: !file {path}}}
"""


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~nobody-at-all/x", "this machine knows no home folder for '~nobody-at-all'"),
        (r'"a\0b"', "a path cannot hold the character U+0000"),
    ],
)
def test_a_path_that_cannot_be_one_is_a_mistake_at_its_line(write, registry, path, message):
    with pytest.raises(ConfigError) as caught:
        load(write(PATHS.format(path=path)), env={}, registry=registry)
    assert [p.line for p in caught.value.problems] == [1, 2, 3, 4, 5, 7]
    assert all(message in p.message for p in caught.value.problems)
