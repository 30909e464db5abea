"""Plugins by path, what ``conveyor plugins`` tells of them, and hooks that each is asked for itself."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from conveyor.config import load
from conveyor.errors import ConfigError
from conveyor.plugins import Plugins
from conveyor.registry import Registry

CONNECTOR = """
from conveyor.contract import ConnectorSpec, Options
from conveyor.hookspecs import hookimpl

class LocalOptions(Options):
    place: str

def open_it(options, env):
    raise AssertionError

@hookimpl
def conveyor_connectors():
    return [ConnectorSpec("local", "A type", "{module}:open_it", "{module}:LocalOptions")]
"""
CONFIG = """\
plugins: [./{module}.py]
destinations:
  mine: {{type: local, place: here}}
  other: {{type: webhook, url: "https://example.com/"}}
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Callable[[str, str], str]]:
    """Writes a plugin file beside the config; its module is forgotten afterwards."""
    written = []

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text.replace("{module}", name))
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


def config(tmp_path: Path, module: str) -> Path:
    path = tmp_path / "conveyor.yaml"
    path.write_text(CONFIG.format(module=module))
    return path


def fresh() -> Registry:
    from conveyor.registry import default_registry

    return default_registry()


def test_a_file_named_in_the_config_brings_its_types(tmp_path, module):
    read = load(config(tmp_path, module("plugin_at_home", CONNECTOR)), registry=fresh(), strict=True)
    destination = read.source.get("mine")
    assert destination is not None
    assert destination.options.place == "here"
    assert callable(read.registry.factory("local"))
    found = {plugin.name: plugin for plugin in read.registry.plugins}
    assert found["plugin_at_home"].hooks == ("conveyor_connectors",)
    assert read.registry.brought_by("plugin_at_home") == ["local"]


def test_reading_the_config_again_loads_the_file_once(tmp_path, module):
    registry = fresh()
    path = config(tmp_path, module("plugin_once", CONNECTOR))
    load(path, registry=registry, strict=True)
    load(path, registry=registry, strict=True)
    assert [plugin.name for plugin in registry.plugins].count("plugin_once") == 1
    assert registry.problems == []


@pytest.mark.parametrize(
    ("name", "text", "says", "cure"),
    [
        ("plugin_without_sdk", "import a_module_nobody_has", "a_module_nobody_has", "pip install a_module"),
        ("plugin_of_old", "from conveyor.gone import this", "conveyor.gone", "another version of Conveyor"),
        ("plugin_misspelt", "def (", "SyntaxError", "mend or remove it"),
        ("plugin-with-dashes", CONNECTOR, "name it like a Python module", "mend or remove it"),
        ("json", CONNECTOR, "there is another module 'json'", "mend or remove it"),
    ],
)
def test_a_broken_file_quarantines_its_destinations_alone(tmp_path, module, name, text, says, cure):
    path = config(tmp_path, name)
    (tmp_path / f"{name}.py").write_text(text)
    read = load(path, registry=fresh())
    broken, quarantined = read.problems
    assert (broken.line, broken.field) == (1, "plugins[0]")
    assert says in broken.message
    assert cure in str(broken.cure)
    assert quarantined.destination == "mine"
    other = read.source.get("other")
    assert other is not None
    assert other.problem is None
    with pytest.raises(ConfigError):
        load(path, registry=fresh(), strict=True)


def test_a_file_that_is_missing_is_named_with_its_place(tmp_path):
    read = load(config(tmp_path, "plugin_elsewhere"), registry=fresh())
    assert "there is no file" in read.problems[0].message
    assert importlib.util.find_spec("plugin_elsewhere") is None


RAISING = """
from conveyor.hookspecs import hookimpl

@hookimpl(tryfirst=True)
def conveyor_connectors():
    raise RuntimeError("boo")
"""
WRAPPING = """
from conveyor.hookspecs import hookimpl

@hookimpl(wrapper=True)
def conveyor_connectors():
    return (yield)
"""


def entry(name: str, module: str) -> EntryPoint:
    return EntryPoint(name, module, "conveyor")


def test_a_hook_that_raises_is_counted_and_the_others_answer(tmp_path, module, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins = Plugins()
    plugins.load(entry("sound", module("plugin_sound", CONNECTOR)))
    plugins.load(entry("raising", module("plugin_raising", RAISING)))
    answers = {plugin.name: answer for plugin, answer in plugins.ask("conveyor_connectors")}
    assert isinstance(answers["raising"], RuntimeError)
    assert [spec.type for spec in answers["sound"]] == ["local"]
    assert list(answers) == ["raising", "sound"]
    assert plugins.failures == {("raising", "conveyor_connectors"): 1}


def test_a_hook_wrapper_is_refused_since_each_plugin_is_asked_for_itself(tmp_path, module, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins = Plugins()
    plugin = plugins.load(entry("wrapping", module("plugin_wrapping", WRAPPING)))
    assert "hook wrapper" in str(plugin.problem)
    assert list(plugins.ask("conveyor_connectors")) == []


def test_a_second_plugin_of_one_name_is_refused_and_both_are_listed(tmp_path, module, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins = Plugins()
    plugins.load(entry("twice", module("plugin_first", CONNECTOR)))
    second = plugins.load(entry("twice", module("plugin_second", CONNECTOR)))
    assert "already" in str(second.problem)
    assert [plugin.problem is None for plugin in plugins] == [True, False]


def test_what_a_plugin_announces_wrongly_is_its_problem(tmp_path, module, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry()
    text = CONNECTOR.replace('"A type"', '"A type", contract=99').replace('conn"', 'conn"')
    registry.admit(registry.plugins.load(entry("newer", module("plugin_newer", text))))
    (plugin,) = registry.plugins
    assert "newer" in str(plugin.problem)
    assert registry.types() == []
