"""Two thousand destinations: loading under 3 s, reloading under 1 s, of processor time."""

from __future__ import annotations

import time

import pytest

from conveyor.config import Reloader, load
from conveyor.registry import default_registry

COUNT = 2000


def config_text() -> str:
    lines = [
        "defaults: {retry: {schedule: [5s, 30s, 2m], jitter: 0.1}}",
        "presets: {shared: {labels: {tier: gold}, limits: {concurrency: 8}}}",
        "destinations:",
    ]
    for number in range(COUNT):
        lines.append(f"  customer-{number}:")
        lines.append(f"    labels: {{customer: c{number}}}")
        if number % 2:
            lines += [
                "    type: webhook",
                f"    url: https://api{number}.example.com/photos",
                "    secret: ${SECRET}",
            ]
            lines += ["    custom_headers: {X-Customer: acme}"]
        else:
            lines += [
                "    type: s3",
                "    extends: shared",
                f"    bucket: photos-{number}",
                "    access_key: ${KEY}",
            ]
            lines += ["    secret_key: ${SECRET}", "    endpoint: https://s3.example.com"]
            lines += ['    path_template: "{tags.order|none}/{date:%Y/%m/%d}/{image_index:03d}-{filename}"']
    return "\n".join(lines) + "\n"


@pytest.fixture
def timed():
    def call(function, *arguments, **keywords):
        start = time.process_time()
        result = function(*arguments, **keywords)
        return result, time.process_time() - start

    return call


def test_two_thousand_destinations_load_and_reload_in_time(tmp_path, timed):
    path = tmp_path / "conveyor.yaml"
    path.write_text(config_text())
    env = {"KEY": "key", "SECRET": "secret"}
    registry = default_registry()
    config, loading = timed(load, path, env=env, registry=registry)
    assert config.problems == ()
    assert len(config.source.list()) == COUNT
    assert loading < 3

    before = {destination.id: destination for destination in config.source.list()}
    path.write_text(config_text().replace("photos-42\n", "photos-new\n"))
    reloader = Reloader(config, env=env)
    reloader.request()
    change, seconds = timed(reloader.poll)
    assert change.changed == ("customer-42",)
    assert seconds < loading, "only what has changed is built anew"
    after = {destination.id: destination for destination in config.source.list()}
    assert sum(after[name] is not before[name] for name in before) == 1

    _, seconds = timed(lambda: [reloader.poll() for _ in range(100)])
    assert seconds < 0.1, "watching costs next to nothing"
