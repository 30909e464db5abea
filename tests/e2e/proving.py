"""Proving that nothing is lost: real servers behind fault proxies, a schedule of faults, and the checker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers import postgres, rabbitmq, redis_server, seaweed, sshd, wsgi_dav

from conveyor.receiver import Receiver
from conveyor.testing.proxy import FaultProxy
from e2e import campaign, faults
from e2e.kit import Place
from e2e.places import bucket_holds, folder_holds, s3_destination, sftp_destination, webdav_destination

PAIRS = ("sqlite", "postgres", "postgres+rabbitmq", "postgres+redis")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = "cHJvdmUtcHJvdmUtcHJvdmUtcHJvdmUtcHJvdmUtcHI="
SCHEDULE = ["200ms", "500ms", "1s", "2s", "4s", "8s", "8s", "8s"]


@dataclass
class Stage:
    """Servers and what they can be made to do."""

    place: Place
    held: dict[str, campaign.Held]
    receiver: Receiver
    actions: dict[str, Callable[[], None]]


@contextmanager
def stage(pair: str, folder: Path) -> Iterator[Stage]:
    """Start everything that a pair of ledger and broker needs, and the four destinations."""
    actions: dict[str, Callable[[], None]] = {}
    settings: dict[str, Any] = {"workers": {"threads": 8, "lease": "5s", "grace": "5s"}}
    with ExitStack() as stack:
        enter = stack.enter_context
        if pair != "sqlite":
            database = enter(postgres.start())
            postgres.make_template(database)
            settings |= {"ledger": enter(database.ledger()), "key": {"value": KEY}}
            actions["restart PostgreSQL"] = lambda: (database.stop(), database.start())[1]
        if pair == "postgres+rabbitmq":
            rabbit = enter(rabbitmq.start())
            settings["broker"] = rabbit.url
            actions["restart RabbitMQ"] = rabbit.restart
        if pair == "postgres+redis":
            redis = enter(redis_server.start())
            settings["broker"] = redis.url
            actions["flush Redis"] = lambda: redis.client().flushall()
        s3, ssh, dav = enter(seaweed.start()), enter(sshd.start()), enter(wsgi_dav.start())
        receiver = enter(Receiver(folder / "received", secrets=[SECRET]))
        s3.client().create_bucket(Bucket="prove")
        for root in (ssh.root / "prove", dav.root / "prove"):
            root.mkdir()
            root.chmod(0o777)
        to_ssh, to_dav = enter(FaultProxy(ssh.host, ssh.port)), enter(FaultProxy("127.0.0.1", dav.port))
        for name, proxy in (("SFTP", to_ssh), ("WebDAV", to_dav)):
            actions[f"cut {name}"] = lambda proxy=proxy: proxy.cut(after=3000)
            actions[f"reset {name}"] = lambda proxy=proxy: proxy.cut(after=3000, reset=True)
            actions[f"drop an answer of {name}"] = lambda proxy=proxy: proxy.drop_answer(after=2000)
        actions["webhook answers 503"] = lambda: receiver.answer_next(faults.unavailable())
        destinations = {
            "hook": {"type": "webhook", "url": receiver.url, "secret": SECRET, "format": "binary"},
            "bucket": s3_destination(s3, "prove"),
            "partner": {**sftp_destination(ssh, f"{ssh.base}/prove"), "port": to_ssh.port},
            "dav": webdav_destination(dav, "prove", to_dav.port),
        }
        common = {"retry": {"schedule": SCHEDULE}, "limits": {"concurrency": 8}}
        place = Place(folder, {name: {**each, **common} for name, each in destinations.items()}, **settings)
        stack.callback(place.stop)
        held = {
            "bucket": bucket_holds(s3, "prove"),
            "partner": folder_holds(ssh.root / "prove"),
            "dav": folder_holds(dav.root / "prove"),
        }
        yield Stage(place, held, receiver, actions)


def prove(on: Stage, *, files: int, seed: int, seconds: float) -> campaign.Findings:
    """Submit, disturb, settle, check."""
    digests = campaign.submit(on.place, files, seed)
    plan = faults.schedule(seed, seconds, sorted([*faults.PROCESS_FAULTS, *on.actions]))
    done = faults.run(on.place, plan, on.actions, seed=seed)
    posts = Counter(received.delivery_id for received in on.receiver.received)
    found = campaign.check(on.place, digests, on.held, {"hook": posts}, cancelled=done.cancelled)
    found.kills, found.seconds = done.counts["kill"], done.seconds
    for name, count in sorted(done.counts.items()):
        print(f"  {count:4} × {name}")
    return found
