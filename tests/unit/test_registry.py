"""Plugins are found by entry point, and a broken one harms nobody."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from conveyor.contract import CONTRACT_VERSION, ConnectorSpec
from conveyor.errors import ConveyorError
from conveyor.registry import Registry, UnknownTypeError, default_registry

SOUND = """
from conveyor.contract import ConnectorSpec
from conveyor.hookspecs import hookimpl

@hookimpl
def conveyor_connectors():
    return [ConnectorSpec({type!r}, "A type", "json:loads", "json:JSONDecoder")]
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = []

    def make(name: str, text: str) -> EntryPoint:
        module = f"registry_plugin_{name}"
        (tmp_path / f"{module}.py").write_text(text)
        loaded.append(module)
        return EntryPoint(name, module, "conveyor")

    yield make
    for module in loaded:
        sys.modules.pop(module, None)


def spec(name: str = "thing", **changes: object) -> ConnectorSpec:
    return ConnectorSpec(
        name, "A thing", **{"factory": "json:loads", "options": "json:JSONDecoder", **changes}
    )


def test_the_installed_registry_has_the_builtin_types_and_no_problems():
    registry = default_registry()
    assert {"webhook", "s3", "sftp", "ftp"} <= set(registry.types())
    assert registry.problems == []
    assert registry.options_model("webhook").__name__ == "WebhookOptions"


def test_listing_types_imports_no_sdk_and_no_pydantic():
    code = (
        "import sys; from conveyor.registry import default_registry; default_registry().types();"
        "print([m for m in ('boto3', 'botocore', 'paramiko', 'pydantic', 'dramatiq') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("missing_sdk", "import a_module_nobody_has", "ModuleNotFoundError"),
        ("syntax", "def (", "SyntaxError"),
        ("exits", "raise SystemExit(3)", "SystemExit"),
        ("raises", SOUND.replace("return [", "raise RuntimeError('boo'); ["), "boo"),
        ("wrong_hook", SOUND.replace("conveyor_connectors()", "conveyor_connectors(surprise)"), "surprise"),
        ("returns_nonsense", SOUND.replace("return [ConnectorSpec", "return [dict) #"), "SyntaxError"),
        ("no_list", SOUND.replace("return [", "return 7 #["), "TypeError"),
        ("other_things", SOUND.replace("return [", "return ['x'] #["), "not ConnectorSpec"),
    ],
)
def test_a_broken_plugin_is_reported_and_the_others_work(plugin, name, text, says):
    entries = [
        plugin("a_sound", SOUND.format(type="first")),
        plugin(name, text.replace("{type!r}", "'broken'")),
        plugin("z_sound", SOUND.format(type="last")),
    ]
    registry = default_registry(entries)
    assert registry.types() == ["first", "last"]
    assert len(registry.problems) == 1
    assert repr(name) in registry.problems[0].message
    assert says in registry.problems[0].message


def test_the_builtin_plugin_comes_first_and_cannot_be_replaced(plugin):
    entries = [plugin("aaa", SOUND.format(type="s3")), plugin("builtin", SOUND.format(type="s3"))]
    registry = default_registry(entries)
    assert registry.types() == ["s3"]
    assert "'aaa'" in registry.problems[0].message


def test_two_plugins_of_one_name_are_not_a_crash(plugin):
    entry = plugin("twice", SOUND.format(type="once"))
    registry = default_registry([entry, entry])
    assert registry.types() == ["once"]
    assert len(registry.problems) == 1


def test_an_unknown_type_names_the_nearest():
    registry = Registry([spec("webhook"), spec("s3")])
    with pytest.raises(UnknownTypeError, match="did you mean 'webhook'"):
        registry.spec("webhok")
    with pytest.raises(UnknownTypeError, match="installed types: s3, webhook"):
        registry.factory("gopher")


@pytest.mark.parametrize("version", [CONTRACT_VERSION - 1, CONTRACT_VERSION + 1])
def test_another_contract_is_left_out(version):
    registry = Registry([spec(contract=version)])
    assert registry.types() == []
    assert f"contract {version}" in registry.problems[0].message


@pytest.mark.parametrize("change", [{"factory": "json.loads"}, {"options": ":x"}, {"capabilities": None}])
def test_a_malformed_spec_is_left_out(change):
    registry = Registry([spec(**change)])
    assert registry.types() == []
    assert len(registry.problems) == 1


def test_a_missing_sdk_names_the_extra():
    registry = Registry()
    registry.add(spec(factory="a_module_nobody_has:Thing", extra="thing"), distribution="some-plugin")
    with pytest.raises(ConveyorError, match="a_module_nobody_has") as caught:
        registry.factory("thing")
    assert caught.value.cure == "pip install 'some-plugin[thing]'"


def test_a_factory_that_is_none_is_an_error():
    registry = Registry([spec(factory="json:nothing"), spec("other", factory="json:__doc__")])
    with pytest.raises(ConveyorError, match="json:nothing cannot be loaded: AttributeError"):
        registry.factory("thing")
    with pytest.raises(ConveyorError, match="not callable"):
        registry.factory("other")


def test_the_factory_is_imported_once_and_returned():
    import json

    registry = Registry([spec()])
    assert registry.factory("thing") is json.loads
    assert registry.factory("thing") is json.loads


def test_an_options_model_must_be_ours():
    with pytest.raises(ConveyorError, match=r"subclass of conveyor\.contract\.Options"):
        Registry([spec()]).options_model("thing")


def test_an_options_model_cannot_take_a_common_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "registry_labels.py").write_text(
        "from conveyor.contract import Options\nclass Bad(Options):\n    labels: str = ''\n"
    )
    registry = Registry([spec(options="registry_labels:Bad")])
    with pytest.raises(ConveyorError, match="'labels' belongs to every destination"):
        registry.options_model("thing")


def test_a_model_that_works_is_cached(registry):
    assert registry.options_model("box") is registry.options_model("slowbox")
    assert "box" in registry
    assert "bax" not in registry


PROVIDER = """
from conveyor.contract import OAuthProvider
from conveyor.hookspecs import hookimpl

@hookimpl
def conveyor_oauth_providers():
    return [OAuthProvider({name!r}, "Acme", "https://a.example/", "https://t.example/"), {more}]
"""


def test_a_plugin_announces_providers_of_accounts(plugin):
    registry = default_registry([plugin("accounts", PROVIDER.format(name="acme", more=""))])
    assert registry.problems == []
    assert registry.provider("acme").title == "Acme"
    with pytest.raises(ConveyorError, match="unknown OAuth provider 'acne'"):
        registry.provider("acne")


def test_a_provider_that_is_none_or_not_the_first_is_reported(plugin):
    first = plugin("a", PROVIDER.format(name="acme", more=""))
    second = plugin("b", PROVIDER.format(name="acme", more="'nonsense'"))
    registry = default_registry([first, second])
    assert [str(problem) for problem in registry.problems] == [
        "plugin 'b': OAuth provider 'acme' is there already; the first one is kept",
        "plugin 'b': its hook returned str, not OAuthProvider",
    ]
    assert registry.provider("acme").title == "Acme"


def test_a_type_that_signs_in_has_the_options_for_it():
    from conveyor.contract import OAuthOptions

    good = Registry([spec(oauth="acme", options="conveyor.contract:OAuthOptions")])
    assert good.options_model("thing") is OAuthOptions
    bad = Registry([spec(oauth="acme", options="conveyor.config.options:Options")])
    with pytest.raises(ConveyorError, match=r"subclass of conveyor\.contract\.OAuthOptions"):
        bad.options_model("thing")
