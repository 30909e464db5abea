"""The reader: YAML 1.2 scalars, places of values, and text that cannot be read."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor.config import yaml_reader
from conveyor.config.scalars import resolve
from conveyor.config.yaml_reader import read_yaml


@pytest.fixture(params=["C", "Python"])
def parser(request, monkeypatch):
    """The same results with and without libyaml."""
    import yaml

    if request.param == "Python":
        bare = {"yaml_implicit_resolvers": {}, "DEFAULT_SCALAR_TAG": "?"}
        monkeypatch.setattr(yaml_reader, "_Loader", type("Slow", (yaml.SafeLoader,), bare))
    else:
        assert issubclass(yaml_reader._Loader, yaml.CSafeLoader)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("NO", "NO"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("12", 12),
        ("-3", -3),
        ("+4", 4),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        ("5s", "5s"),
        ("0x", "0x"),
        ("0o9", "0o9"),
        ("9" * 5000, "9" * 5000),
        ("=", "="),
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(text, value):
    assert resolve(text) == value
    assert type(resolve(text)).__mro__[-2] is type(value).__mro__[-2]


@pytest.mark.parametrize("text", ["007", "0x1F", "1.10", "+4", "1e3", "0o17", "12", "-0"])
def test_a_number_still_prints_as_it_was_written(text):
    assert str(resolve(text)) == text
    assert repr(resolve(text)) == text


@given(st.text(max_size=20))
def test_any_text_resolves_to_something_that_prints_as_it_was_written(text):
    value = resolve(text)
    if (
        value is not None
        and not isinstance(value, bool)
        and not (isinstance(value, float) and not math.isfinite(value))
    ):
        assert str(value) == text


def test_every_value_and_key_has_its_place(parser):
    text = b"a: 1\nlist:\n  - x\n  - {deep: 'quoted'}\nend:   last # comment\n"
    root, problems = read_yaml(text, "f.yaml")
    assert problems == []
    assert root.place(("a",))[1:] == (1, 4)
    assert root.place(("list", 1, "deep"))[1:] == (4, 12)
    assert root.place(("list", 1, "deep"), key=True)[1:] == (4, 6)
    assert root.place(("end",)) == ("f.yaml", 5, 8)
    assert root.place(("list", 7))[1:] == (3, 3)


def test_quoted_scalars_are_text(parser):
    root, _ = read_yaml(b"a: '12'\nb: \"true\"\nc: |\n  7\nd: !!str 5\ne: !!int '6'\n", "f")
    assert {key: node.value for key, node in root.value.items()} == {
        "a": "12",
        "b": "true",
        "c": "7\n",
        "d": "5",
        "e": 6,
    }


def test_aliases_are_values_and_files_are_marked(parser):
    root, _ = read_yaml(b"a: &x {k: 1}\nb: *x\nc: !file secret.txt\n", "f")
    assert root.at(("b", "k")).value == 1
    assert root.at(("c",)).from_file
    assert not root.at(("a", "k")).from_file


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (b"a: 1\nb: 2\na: 3\n", "the key 'a' is there already, in line 1", 3),
        (b"b: &x {k: 1}\nc:\n  <<: *x\n", "merge keys", 3),
        (b"? [1]\n: 2\n", "a key must be text", 1),
        (b"a: !env HOME\n", "unknown tag !env", 1),
        (b"a: !!set {x}\n", "unknown tag !!set", 1),
        (b"a: !list [x]\n", "unknown tag !list", 1),
    ],
)
def test_odd_yaml_is_a_fault_of_the_node_that_has_it(parser, text, message, line):
    root, problems = read_yaml(text, "f")
    assert problems == []
    nodes, faults = [root], []
    while nodes:
        node = nodes.pop()
        faults += node.faults
        nodes += node.value.values() if isinstance(node.value, dict) else []
    assert [(fault.message.startswith(message), fault.mark.line) for fault in faults] == [(True, line)]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a: [1", "f:2:1: while parsing a flow sequence"),
        (b"a: 'x\n", "f:"),
        (b"a: b: c\n", "f:1:5:"),
        (b"a: 1\n---\nb: 2\n", "f:2:1: expected a single document"),
        (b"ok: 1\nbad: \xff\n", "f:2: not UTF-8"),
        (b"a: \x01\n", "f: not readable as YAML"),
        (b"a: &x [*x]\n", "f: aliases make this file endless"),
        (b"a: *nothing\n", "f:1:4:"),
    ],
)
def test_unreadable_text_is_one_problem_with_its_place(data, says):
    root, problems = read_yaml(data, "f")
    assert root is None
    assert len(problems) == 1
    assert str(problems[0]).startswith(says)


def test_aliases_of_aliases_do_not_eat_the_memory(monkeypatch):
    monkeypatch.setattr(yaml_reader, "_MOST_NODES", 10_000)
    text = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
    root, problems = read_yaml(text.encode(), "f")
    assert root is None
    assert "endless" in problems[0].message


def test_an_empty_file_is_an_empty_mapping_and_a_bom_is_nothing():
    assert read_yaml(b"", "f")[0].mapping == {}
    assert read_yaml(b"\xef\xbb\xbfa: 1", "f")[0].at(("a",)).value == 1
