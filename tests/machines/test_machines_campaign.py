"""The crash campaign on many machines' parts: files exist exactly once, whoever dies and whatever wakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from e2e.kit import Place
from e2e.test_crash_campaign import carry_out
from servers.rabbitmq import RabbitServer
from servers.redis_server import RedisServer
from servers.s3 import S3Server
from servers.ssh import SshServer

from conveyor.receiver import Receiver

pytestmark = pytest.mark.server


@pytest.fixture(params=["ledger", "redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str:
    """The URL of what wakes."""
    if request.param == "redis":
        redis: RedisServer = request.getfixturevalue("the_redis_server")
        return redis.url
    if request.param == "rabbitmq":
        rabbit: RabbitServer = request.getfixturevalue("rabbitmq_server")
        return rabbit.url
    return "ledger"


def test_a_small_campaign_on_postgres(
    request: pytest.FixtureRequest,
    place: Callable[..., Place],
    receiver: Receiver,
    hook: dict[str, Any],
    ledger: dict[str, Any],
    broker: str,
    moto_server: S3Server,
    asyncssh_server: SshServer,
) -> None:
    def shared(**destinations: Any) -> Place:
        return place(**destinations, settings={**ledger, "broker": broker})

    seed = 100 + len(broker)
    found = carry_out(shared, receiver, hook, moto_server, asyncssh_server, files=60, kills=3, seed=seed)
    print(found)
    assert not found.wrong, found
    assert found.deliveries == 180
    assert found.kills == 3
