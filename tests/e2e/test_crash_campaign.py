"""Engines die at random while they deliver; nothing is lost, and files exist exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from servers.s3 import S3Server
from servers.ssh import SshServer

from conveyor.receiver import Receiver
from e2e import campaign, checker
from e2e.kit import Place
from e2e.places import bucket_holds, folder_holds, s3_destination, sftp_destination


def carry_out(
    place: Callable[..., Place],
    receiver: Receiver,
    hook: dict[str, Any],
    s3: S3Server,
    sftp: SshServer,
    *,
    files: int,
    kills: int,
    seed: int,
) -> checker.Findings:
    bucket = f"crash-{seed}-{files}"
    s3.client().create_bucket(Bucket=bucket)
    folder = sftp.root / bucket
    folder.mkdir()
    folder.chmod(0o777)  # the server may run as another user
    short = {"retry": {"schedule": ["200ms", "500ms", "1s", "2s", "4s"]}, "limits": {"concurrency": 8}}
    engine = place(
        hook={**hook, **short},
        bucket={**s3_destination(s3, bucket), **short},
        partner={**sftp_destination(sftp, f"{sftp.base}/{bucket}"), **short},
    )
    digests = campaign.submit(engine, files, seed)
    done, seconds = campaign.run(engine, kills=kills, seed=seed)
    posts = Counter(r.delivery_id for r in receiver.received)
    found = checker.check(
        engine,
        digests,
        {"bucket": bucket_holds(s3, bucket), "partner": folder_holds(folder)},
        {"hook": posts},
    )
    found.kills, found.seconds = done, seconds
    return found


@pytest.mark.server
def test_a_small_campaign(
    place: Callable[..., Place],
    receiver: Receiver,
    hook: dict[str, Any],
    moto_server: S3Server,
    asyncssh_server: SshServer,
) -> None:
    found = carry_out(place, receiver, hook, moto_server, asyncssh_server, files=120, kills=4, seed=7)
    print(found)
    assert not found.wrong, found
    assert found.deliveries == 360
    assert found.kills == 4


@pytest.mark.long
@pytest.mark.server
def test_the_campaign(
    place: Callable[..., Place],
    receiver: Receiver,
    hook: dict[str, Any],
    seaweed_server: S3Server,
    sshd_server: SshServer,
) -> None:
    found = carry_out(place, receiver, hook, seaweed_server, sshd_server, files=6_667, kills=20, seed=11)
    print(found)
    assert not found.wrong, found
    assert found.kills == 20
