"""Proving that nothing is lost: real servers behind fault proxies, a schedule of faults, and the checker."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from servers import disks, postgres, rabbitmq, redis_server, seaweed, sshd, wsgi_dav
from servers import places as asked
from servers.disks import Disk
from servers.standins.child import launched

from conveyor.receiver import Receiver
from conveyor.testing.proxy import FaultProxy
from e2e import campaign, checker, faults, places, witness
from e2e.crew import Post
from e2e.faults import PAST_THE_LEASE, Action, Carrying
from e2e.kit import Place

PAIRS = ("sqlite", "postgres", "postgres+rabbitmq", "postgres+redis")
TYPES = ("webhook", "s3", "sftp", "webdav", "box", "google_drive")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = "cHJvdmUtcHJvdmUtcHJvdmUtcHJvdmUtcHJvdmUtcHI="
SCHEDULE = ["200ms", "500ms", "1s", "2s", "4s", "8s", "8s", "8s"]
LIMITS = {"concurrency": 8, "idle_timeout": "4s", "answer_timeout": "4s", "base_timeout": "20s"}
LEDGER = "PROVE_LEDGER"
"""Variable with the ledger's URL: each engine reaches it by a way of its own."""
BROKER = "PROVE_BROKER"
"""The same of the broker's URL."""
CLOCKS = (90.0, -90.0)
"""Seconds that the two engines' clocks are ahead, where a server's clock decides."""
DISK = 128 * 1024 * 1024
"""Bytes of the disk below the SFTP server."""
ROOM = 512 * 1024 * 1024
"""Bytes of the disks below the payload store and a ledger on SQLite."""
FULL = (2.0, 7.0)
"""Seconds that a disk is full: some last longer than the lease."""
STALLED = (2.0, 7.0)
"""Seconds: some stalls end by themselves, some outlast the idle limit."""


@dataclass
class Stage:
    """Servers and what they can be made to do."""

    place: Place
    held: dict[str, checker.Held]
    receiver: Receiver
    posts: list[Post]
    proxies: dict[str, FaultProxy]
    actions: dict[str, Action] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    """Those that can be filled, by what lies on them."""
    not_run: list[str] = field(default_factory=list)
    """Faults that are not possible here, each with the reason."""
    notes: Callable[[], dict[str, str]] = dict
    """What else is worth telling afterwards."""

    def faults(self, carrying: Carrying) -> dict[str, Action]:
        """All faults of the servers and of the ways to them."""
        found = dict(self.actions)
        for name, proxy in self.proxies.items():
            found[f"cut {name}"] = Action("connections", lambda _, p=proxy: p.cut(after=3000))
            found[f"reset {name}"] = Action("connections", lambda _, p=proxy: p.cut(after=3000, reset=True))
            found[f"drop an answer of {name}"] = Action(
                "connections", lambda _, p=proxy: p.drop_answer(after=2000)
            )
            found[f"stall {name}"] = Action(
                "stalls", lambda _, p=proxy: p.stall(after=2500), lambda _, p=proxy: p.release(), STALLED
            )
        every = list(self.proxies.values())
        found["no destination is reached"] = Action(
            "partitions",
            lambda _: [proxy.pause() for proxy in every],
            lambda _: [proxy.resume() for proxy in every],
            PAST_THE_LEASE,
        )
        for name, disk in self.disks.items():

            def empty(victim: int, name: str = name, disk: Disk = disk) -> None:
                disk.empty()
                if name in self.proxies:  # a destination: an operator has made room and says so
                    carrying.order_soon(partial(carrying.resume, name))

            found[f"fill the disk of {name}"] = Action("services", lambda _, d=disk: d.fill(), empty, FULL)
        return found


@contextmanager
def stage(
    pair: str, folder: Path, *, types: tuple[str, ...] = TYPES, plant: str = "", clocks: bool = True
) -> Iterator[Stage]:
    """Start everything that a pair of ledger and broker needs, and the destinations.

    Args:
        pair: One of :data:`PAIRS`.
        folder: Where the engines work.
        types: Destination types; one destination of each, named like it.
        plant: A bug for the engines, a name of :data:`e2e.plants.PLANTS`.
        clocks: Shift the engines' clocks, where the ledger's server tells the time.
    """
    settings: dict[str, Any] = {"workers": {"threads": 8, "lease": "5s", "grace": "5s"}}
    with ExitStack() as stack:
        receiver = stack.enter_context(Receiver(folder / "received", secrets=[SECRET]))
        on = Stage(Place(folder, {}), {}, receiver, [], {})
        stack.callback(on.place.stop)
        _engines(on, stack, pair, settings, plant, clocks)
        _disks(on, stack, pair, settings)
        makers = {
            "webhook": _webhook, "s3": _s3, "sftp": _sftp, "webdav": _webdav, "box": _box,
            "google_drive": _google_drive,
        }  # fmt: skip
        destinations: dict[str, Any] = {}
        common = {"retry": {"schedule": SCHEDULE}, "limits": LIMITS}
        for name in types:
            made, port = makers[name](on, stack)
            proxy = on.proxies[name] = stack.enter_context(FaultProxy("127.0.0.1", port))
            destinations[name] = {**places.through(made, port, proxy.port), **common}
        on.place.configure(destinations, **settings)
        with on.place.open() as installation:
            witness.install(installation.config.settings)
        yield on


def _engines(
    on: Stage, stack: ExitStack, pair: str, settings: dict[str, Any], plant: str, clocks: bool
) -> None:
    """The ledger, the broker, and who works with them."""
    if pair == "sqlite":
        on.posts += [Post(("run",), plant=plant) for _ in range(campaign.ENGINES)]
        on.not_run += [
            "clocks that differ: a ledger on SQLite is on one machine, with one clock",
            "a partition from the ledger: it is a file",
            "killed dispatchers: `conveyor run` is worker and dispatcher in one process, and is killed",
        ]
        return
    database = stack.enter_context(postgres.start())
    postgres.make_template(database)
    url = stack.enter_context(database.ledger())
    settings |= {"ledger": f"${{{LEDGER}}}", "key": {"value": KEY}}
    on.actions["restart PostgreSQL"] = Action("services", lambda _: (database.stop(), database.start()))
    verbs = ["worker"] * campaign.ENGINES
    if pair == "postgres":
        on.not_run.append("killed dispatchers: with `broker: ledger` there are none")
    else:
        verbs += ["dispatcher"] * campaign.ENGINES
    on.posts += [
        Post(
            (verb,),
            clock=CLOCKS[number % len(CLOCKS)] if clocks else 0.0,
            plant=plant,
        )
        for number, verb in enumerate(verbs)
    ]
    on.actions["a worker does not reach the ledger"] = _cut_off(_ways(on, stack, LEDGER, url))
    _broker(on, stack, pair, settings)


def _disks(on: Stage, stack: ExitStack, pair: str, settings: dict[str, Any]) -> None:
    """Small disks beneath the payload store and beneath a ledger that is a file."""
    beneath = {"the payload store": ("payloads", "{}/payloads")}
    if pair == "sqlite":
        beneath["the ledger"] = ("ledger", "sqlite:///{}/conveyor.db")
    else:
        on.not_run.append("a full disk beneath the ledger: PostgreSQL ends then, and is restarted anyway")
    for number, (name, (setting, where)) in enumerate(beneath.items()):
        disk = stack.enter_context(disks.mounted(on.place.folder / f"disk-{number}", ROOM))
        if disk is None:
            on.not_run.append(f"a full disk beneath {name}: {disks.WHY_NOT}")
        else:
            on.disks[name] = disk
            settings[setting] = where.format(disk.root)


def _broker(on: Stage, stack: ExitStack, pair: str, settings: dict[str, Any]) -> None:
    if pair == "postgres+rabbitmq":
        rabbit = stack.enter_context(rabbitmq.start())
        _ways_to_broker(on, stack, "RabbitMQ", rabbit.url, settings)
        on.actions["restart RabbitMQ"] = Action("services", lambda _: rabbit.restart())
    if pair == "postgres+redis":
        redis = stack.enter_context(redis_server.start())
        _ways_to_broker(on, stack, "Redis", redis.url, settings)
        on.actions["flush Redis"] = Action("services", lambda _: redis.client().flushall())


def _ways(on: Stage, stack: ExitStack, variable: str, url: str) -> list[FaultProxy]:
    """Each process finds under ``variable`` its own way to that server, which can be blocked by itself."""
    stack.callback(os.environ.pop, variable, None)
    os.environ[variable] = url
    port = int(urlsplit(url).port or 0)
    ways = [stack.enter_context(FaultProxy("127.0.0.1", port)) for _ in on.posts]
    for post, way in zip(on.posts, ways, strict=True):
        post.environment = {**post.environment, variable: url.replace(f":{port}", f":{way.port}", 1)}
    return ways


def _cut_off(ways: list[FaultProxy]) -> Action:
    """One of them leads nowhere for longer than the lease."""
    return Action(
        "partitions",
        lambda victim: ways[victim].pause(),
        lambda victim: ways[victim].resume(),
        PAST_THE_LEASE,
    )


def _ways_to_broker(on: Stage, stack: ExitStack, name: str, url: str, settings: dict[str, Any]) -> None:
    settings["broker"] = f"${{{BROKER}}}"
    ways = _ways(on, stack, BROKER, url)
    for who, first in (("worker", 0), ("dispatcher", campaign.ENGINES)):
        mine = ways[first : first + campaign.ENGINES]
        on.actions[f"a {who} does not reach {name}"] = _cut_off(mine)
        on.actions[f"reset a {who}'s connection to {name}"] = Action(
            "connections", lambda victim, mine=mine: mine[victim].cut(after=0, reset=True)
        )


def _webhook(on: Stage, stack: ExitStack) -> tuple[dict[str, Any], int]:
    on.actions["webhook answers 503"] = Action(
        "services", lambda _: on.receiver.answer_next(faults.unavailable())
    )
    options = {"type": "webhook", "url": on.receiver.url, "secret": SECRET, "format": "binary"}
    return options, int(urlsplit(on.receiver.url).port or 0)


def _s3(on: Stage, stack: ExitStack) -> tuple[dict[str, Any], int]:
    server = stack.enter_context(seaweed.start())
    server.client().create_bucket(Bucket="prove")
    on.held["s3"] = places.bucket_holds(server, "prove")
    return places.s3_destination(server, "prove"), server.port


def _sftp(on: Stage, stack: ExitStack) -> tuple[dict[str, Any], int]:
    small = sshd.can_be_filled()
    server = stack.enter_context(sshd.start(disk=DISK) if small else sshd.start())
    if small:
        on.disks["sftp"] = Disk(server.root)
    else:
        on.not_run.append(f"a full disk of the SFTP server: {disks.WHY_NOT}")
    on.held["sftp"] = places.folder_holds(_folder(server.root))
    return places.sftp_destination(server, f"{server.base}/prove"), server.port


def _webdav(on: Stage, stack: ExitStack) -> tuple[dict[str, Any], int]:
    server = stack.enter_context(wsgi_dav.start())
    on.held["webdav"] = places.folder_holds(_folder(server.root))
    return places.webdav_destination(server, "prove"), server.port


def _box(on: Stage, stack: ExitStack) -> tuple[dict[str, Any], int]:
    facts = stack.enter_context(launched("e2e.places:ShortLivedBox"))
    on.held["box"] = places.standin_holds(facts["url"])

    def exchanged() -> dict[str, str]:
        counts = asked.ask(facts["url"], "GET", "counts")
        return {"logins to Box renewed, each refresh token good for one use": str(counts.get("token", 0))}

    on.notes = exchanged
    return places.box_destination(facts), int(urlsplit(facts["url"]).port or 0)


def _google_drive(on: Stage, stack: ExitStack) -> tuple[dict[str, Any], int]:
    facts = stack.enter_context(launched("e2e.places:Drive"))
    on.held["google_drive"] = places.standin_holds(facts["url"], "Conveyor/")
    return places.drive_destination(facts), int(urlsplit(facts["url"]).port or 0)


def _folder(root: Path) -> Path:
    """A folder for any user to write to."""
    made = root / "prove"
    made.mkdir()
    made.chmod(0o777)
    return made


def prove(
    on: Stage,
    *,
    files: int,
    seed: int,
    seconds: float,
    patience: float = faults.PATIENT,
    tell: Callable[[str], None] = faults.silent,
) -> checker.Findings:
    """Submit, disturb, settle, check; ``tell`` is given a line every few seconds."""
    done = faults.run(
        on.place, on.posts, on.faults, files=files, seed=seed, seconds=seconds, patience=patience, tell=tell
    )
    tell("checking what the destinations hold")
    posts = Counter(received.delivery_id for received in on.receiver.received)
    found = checker.check(on.place, done.digests, on.held, {"webhook": posts}, cancelled=done.cancelled)
    found.trouble = done.trouble
    found.strangers += [f"payload store: {path}" for path in on.place.folder.glob("**/.pay_*.part")]
    found.kills = sum(count for what, count in done.counts.items() if what.startswith("kill"))
    found.seconds = done.seconds
    print(done.listed())
    for name, said in on.notes().items():
        print(f"  {said:>4} × {name}")
    return found
