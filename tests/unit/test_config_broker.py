"""Brokers by URL."""

from __future__ import annotations

import pytest

from conveyor.config.broker import FORMS, parse


@pytest.mark.parametrize(
    ("url", "kind", "name"),
    [
        ("amqp://me:secret@mq/vhost", "rabbitmq", "amqp://mq/vhost"),
        ("amqps://mq.internal:5671/%2F?heartbeat=10", "rabbitmq", "amqps://mq.internal:5671/%2F"),
        ("redis://:secret@cache:6379/2", "redis", "redis://cache:6379/2"),
        ("rediss://[::1]:6379", "redis", "rediss://[::1]:6379"),
        (
            "redis+sentinel://:secret@a:26379,b:26379/main/3",
            "redis",
            "redis+sentinel://a:26379,b:26379/main/3",
        ),
    ],
)
def test_what_it_is_and_how_it_is_called_in_the_log(url: str, kind: str, name: str) -> None:
    parsed = parse(url)
    assert (parsed.kind, parsed.name) == (kind, name)
    assert "secret" not in repr(parsed)


def test_sentinels_are_taken_apart() -> None:
    parsed = parse("rediss+sentinel://user:p%40ss@a:26379,b:26380/main?sentinel_password=own")
    found = parsed.sentinels
    assert found is not None
    assert found.hosts == (("a", 26379), ("b", 26380))
    assert (found.service, found.database, parsed.secure) == ("main", 0, True)
    assert (found.username, found.password) == ("user", "p@ss")
    assert found.options == {"sentinel_password": "own"}


@pytest.mark.parametrize(
    "url",
    [
        "rabbit",
        "http://mq",
        "amqp://",
        "redis://:secret@",
        "redis://host:port",
        "redis+sentinel://a:26379",
        "redis+sentinel://a,b/main",
        "redis+sentinel://a:26379/main/zero",
    ],
)
def test_anything_else_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError) as told:
        parse(url)
    assert str(told.value) == FORMS
