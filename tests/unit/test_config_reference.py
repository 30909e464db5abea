"""What is made from the models: the JSON Schema, the reference, the example."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from conveyor.config import load
from conveyor.config.describe import describe_options
from conveyor.config.docs import configuration_page, main
from conveyor.config.schema import json_schema
from conveyor.config.settings import Settings
from conveyor.contract import ConnectorSpec
from conveyor.registry import default_registry

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.yaml"
SECRETS = {"S3_ACCESS_KEY": "AK", "S3_SECRET_KEY": "SK", "WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="}


class PlainTags(yaml.SafeLoader):
    """Reads ``!file x`` as text, as an editor's schema check does."""


PlainTags.add_constructor("!file", lambda loader, node: loader.construct_scalar(node))


@pytest.fixture(scope="module")
def installed():
    return default_registry()


@pytest.fixture(scope="module")
def complaints(installed):
    schema = json_schema(installed)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)

    def check(text: str) -> list[str]:
        document = yaml.load(text, Loader=PlainTags)
        return [error.message for error in validator.iter_errors(document)]

    return check


def test_the_example_loads_with_the_real_models(tmp_path, installed):
    key = tmp_path / "secrets" / "id_ed25519"
    key.parent.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    path = tmp_path / "conveyor.yaml"
    path.write_text(EXAMPLE.read_text())
    config = load(path, env=SECRETS, registry=installed, strict=True)
    assert [(d.id, d.type, d.problem) for d in config.source.list()] == [
        ("production-s3", "s3", None),
        ("partner", "sftp", None),
        ("backend", "webhook", None),
    ]
    assert config.source.get("production-s3").limits.concurrency == 8


def test_the_examples_shown_defaults_are_the_defaults(tmp_path):
    written = yaml.load(EXAMPLE.read_text(), Loader=PlainTags)
    context = {"base": tmp_path}
    default = Settings.model_validate({}, context=context)
    for name in ("ledger", "broker", "payloads", "key", "workers", "retention", "time_zone", "defaults"):
        shown = Settings.model_validate({name: written[name]}, context=context)
        if name == "defaults":
            assert written[name].pop("conflict") == "rename"
            shown = Settings.model_validate({name: written[name]}, context=context)
        assert getattr(shown, name) == getattr(default, name), name


def test_the_schema_accepts_the_example(complaints):
    assert complaints(EXAMPLE.read_text()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ledgr: x", "ledgr"),
        ("workers: {threads: many}", "many"),
        ("destinations: {a: {type: s4}}", "s4"),
        ("destinations: {a: {type: webhook}}", "url"),
        ("destinations: {a: {type: webhook, url: 'https://x', formt: binary}}", "formt"),
        ("destinations: {a: {type: webhook, url: 'https://x', format: bin}}", "bin"),
        ("destinations: {a: {type: webhook, url: 'https://x', retry: {schedule: 5}}}", "5"),
        ("destinations: {a: {url: x}}", "type"),
    ],
)
def test_the_schema_refuses(complaints, text, says):
    found = complaints(text)
    assert found
    assert says in " ".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "workers: {threads: '${THREADS}'}",
        "destinations: {a: {type: s3, bucket: b, accessKey: x, secret_key: !file k, limits: {maxSize: 5GB}}}",
        "destinations: {a: {extends: p}}\npresets: {p: {type: s3}}",
        "destinations: {a: {type: webhook, url: '${URL}', retry: {schedule: [5s, 1], jitter: '${J:-0}'}}}",
        "destinations:",
    ],
)
def test_the_schema_accepts_what_the_loader_accepts(complaints, text):
    assert complaints(text) == []


def test_the_schema_shows_no_default_of_a_secret_and_no_broken_type(registry):
    registry.add(ConnectorSpec("broken", "x", "a_module_nobody_has:x", "a_module_nobody_has:X"))
    schema = json_schema(registry)
    text = json.dumps(schema)
    assert "broken" not in text
    assert "**" not in text
    assert json.loads(text) == schema


def test_options_are_described_once_from_the_model(registry):
    rows = {option.name: option for option in describe_options(registry.options_model("box"))}
    assert list(rows)[:2] == ["access_key", "place"]
    key = rows["access_key"]
    assert (key.alias, key.type, key.required, key.default, key.secret, key.help) == (
        "accessKey", "text", True, None, True, "The key.",
    )  # fmt: skip
    assert (rows["mode"].type, rows["mode"].default) == ("fast | slow", "fast")
    assert (rows["part_size"].type, rows["part_size"].default) == ("size", "1KiB")
    assert (rows["proof.max_age"].type, rows["proof.max_age"].default) == ("duration", "1m")
    assert (rows["proof"].type, rows["headers"].type) == ("group", "mapping of text to text")
    assert (rows["secrets"].type, rows["secrets"].secret) == ("text or list of text", True)


def test_every_option_of_the_installed_types_has_a_help_text(installed):
    for spec in installed.specs():
        for option in describe_options(installed.options_model(spec.type)):
            assert option.help, f"{spec.type}.{option.name}"
    assert all(option.help for option in describe_options(Settings))


def test_the_reference_is_current(installed):
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    hint = "run: python -m conveyor.config.docs docs/configuration.md"
    assert page == configuration_page(installed), hint


def test_the_generator_writes_and_checks(tmp_path, capsys):
    target = tmp_path / "page.md"
    assert main(["--check", str(target)]) == 1
    assert main([str(target)]) == 0
    assert main(["--check", str(target)]) == 0
    assert main([]) == 2
    assert "out of date" in capsys.readouterr().err


def test_importing_the_contract_imports_no_pydantic():
    code = (
        "import sys, conveyor.contract, conveyor.config; before = 'pydantic' in sys.modules;"
        "from conveyor.contract import Options;"
        "print(before, 'pydantic' in sys.modules, 'yaml' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "True", "False"]
