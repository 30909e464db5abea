"""The files of ``deploy/`` say what they should, in the words of those who read them."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from conveyor.cli import app as cli
from conveyor.config import load

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SECRETS = ("CONVEYOR_KEY", "PG_PASSWORD", "MQ_PASSWORD", "S3_KEY_ID", "S3_SECRET")


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I=")


def understood(words: list[str]) -> None:
    """The command line knows the verb and each of its options."""
    said = CliRunner().invoke(cli.app, [*words, "--help"])
    assert said.exit_code == 0, said.output
    for option in (word for word in words if word.startswith("--")):
        assert option in said.output


def usable(config: str, folder: Path) -> None:
    path = folder / "conveyor.yaml"
    path.write_text(config)
    assert load(path, strict=True).settings.default_destinations == ("backend",)


# --- systemd -----------------------------------------------------------------------------------------


def unit(path: Path) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None, strict=False)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(path.read_text())
    return parsed


def test_there_are_three_units() -> None:
    assert {path.stem for path in UNITS} == {"conveyor", "conveyor-dispatcher", "conveyor-worker"}


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_starts_what_there_is(path: Path, tmp_path: Path) -> None:
    service = unit(path)["Service"]
    program, *words = service["ExecStart"].split()
    assert program.endswith("/bin/conveyor")
    assert words[:2] == ["--config", "/etc/conveyor/conveyor.yaml"]
    understood(words[2:])
    assert service["Type"] == "notify"
    assert service["KillMode"] == "mixed"
    assert service["Restart"] == "always"
    assert int(service["TimeoutStopSec"]) > 30  # workers.grace
    analyser = shutil.which("systemd-analyze")
    if analyser is None:
        return  # parsed above
    copy = tmp_path / path.name
    text = re.sub(r"ExecStart=\S+", f"ExecStart={sys.executable}", path.read_text())
    copy.write_text(text.replace("User=conveyor\n", ""))
    said = subprocess.run(
        [analyser, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    assert path.name not in said.stderr, said.stderr


def test_what_a_service_writes_lies_where_it_may(tmp_path: Path) -> None:
    service = unit(DEPLOY / "systemd" / "conveyor.service")["Service"]
    assert service["ProtectSystem"] == "strict"
    state = Path("/var/lib") / service["StateDirectory"]
    (block,) = re.findall(r"```yaml\n(.*?)```", (DEPLOY / "README.md").read_text(), re.DOTALL)
    config = tmp_path / "conveyor.yaml"
    config.write_text(f"{block}destinations: {{}}\n")
    settings = load(config, strict=True).settings
    assert settings.ledger_file is not None
    for place in (settings.ledger_file, settings.payloads, settings.key.file):
        assert isinstance(place, Path)
        assert place.is_relative_to(state)


# --- compose -----------------------------------------------------------------------------------------


def test_the_compose_file_holds_together(tmp_path: Path) -> None:
    folder = DEPLOY / "compose"
    document = yaml.safe_load((folder / "compose.yaml").read_text())
    services: dict[str, Any] = document["services"]
    assert set(services) == {"postgres", "rabbitmq", "migrate", "dispatcher", "worker"}
    for name, service in services.items():
        assert ("image" in service) != ("build" in service), name
        assert "healthcheck" in service
        for other, condition in service.get("depends_on", {}).items():
            assert other in services
            assert condition["condition"].startswith("service_")
        if "build" in service:
            understood(service["command"])
            for mount in service["volumes"]:
                source = mount.partition(":")[0]
                assert source in document["volumes"] or (folder / source).is_file()
    usable((folder / "conveyor.yaml").read_text(), tmp_path)
    needed = set(re.findall(r"\$\{(\w+)\}", (folder / "conveyor.yaml").read_text()))
    assert needed <= set(services["worker"]["environment"])


def test_the_image_ends_in_the_command_line() -> None:
    lines = (DEPLOY / "compose" / "Dockerfile").read_text().splitlines()
    assert lines[0].startswith("FROM python:3.")
    assert 'ENTRYPOINT ["conveyor", "--config", "/etc/conveyor/conveyor.yaml"]' in lines
    assert any(line.startswith("USER ") and line != "USER root" for line in lines)


def test_the_images_user_may_write_to_the_volumes() -> None:
    """Docker gives a new volume the owner of the image's folder of that name: root, where there is none."""
    folder = DEPLOY / "compose"
    document = yaml.safe_load((folder / "compose.yaml").read_text())
    before, _, after = (folder / "Dockerfile").read_text().partition("USER ")
    user = after.split()[0]
    made = re.findall(rf"install --directory --owner={user} --mode=0700 (\S+)", before)
    mounts = (
        mount
        for each in document["services"].values()
        for mount in each.get("volumes", ())
        if "build" in each
    )
    volumes = {mount.split(":")[1] for mount in mounts if mount.split(":")[0] in document["volumes"]}
    assert volumes == set(made) == {"/payloads"}


# --- Kubernetes --------------------------------------------------------------------------------------

MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "conveyor.yaml").read_text()))
VERSIONS = {"ConfigMap": "v1", "Job": "batch/v1", "Deployment": "apps/v1"}


def test_each_manifest_says_what_it_is() -> None:
    kinds = [(each["kind"], each["metadata"]["name"]) for each in MANIFESTS]
    assert len(set(kinds)) == len(kinds) == 4
    for each in MANIFESTS:
        assert each["apiVersion"] == VERSIONS[each["kind"]]
        assert each["metadata"]["namespace"] == "conveyor"


def test_the_config_map_is_a_config(tmp_path: Path) -> None:
    (config,) = (each["data"]["conveyor.yaml"] for each in MANIFESTS if each["kind"] == "ConfigMap")
    usable(config, tmp_path)
    assert set(re.findall(r"\$\{(\w+)\}", config)) == set(SECRETS)


PODS = [each for each in MANIFESTS if each["kind"] != "ConfigMap"]


@pytest.mark.parametrize("manifest", PODS, ids=lambda each: each["metadata"]["name"])
def test_a_pod_holds_together(manifest: dict[str, Any]) -> None:
    template = manifest["spec"]["template"]
    pod = template["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert {"requests", "limits"} <= set(container["resources"])
    assert {mount["name"] for mount in container["volumeMounts"]} <= {v["name"] for v in pod["volumes"]}
    understood(container["args"])
    if manifest["kind"] == "Job":
        assert pod["restartPolicy"] in ("OnFailure", "Never")
        return
    labels = manifest["spec"]["selector"]["matchLabels"]
    assert labels.items() <= template["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe, path in (("livenessProbe", "/live"), ("readinessProbe", "/ready")):
        asked = container[probe]["httpGet"]
        assert (asked["path"], asked["port"] in ports) == (path, True)
    (address,) = (word for word in container["args"] if ":" in word)
    assert int(address.rpartition(":")[2]) == ports["health"]


def test_a_worker_has_time_to_end() -> None:
    (worker,) = (each for each in PODS if each["metadata"]["name"] == "conveyor-worker")
    assert worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 30
