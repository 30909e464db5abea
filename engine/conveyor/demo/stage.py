"""The demo's stage: servers, config and engine below one temporary folder, all taken away at the end."""

from __future__ import annotations

import importlib.util
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from conveyor.api import Conveyor
from conveyor.delivery.engine import Engine
from conveyor.demo.children import Child
from conveyor.demo.s3_look import Look
from conveyor.errors import ConveyorError
from conveyor.installation import Installation
from conveyor.receiver import Answer, Receiver
from conveyor.version import requirement

PACKAGES = ("asyncssh", "boto3", "flask", "flask_cors", "moto", "paramiko")
SECRET = "whsec_ZGVtbyBzZWNyZXQsIG5vIHNlY3JldCBhdCBhbGw="
BUCKET = "photos"
USER, PASSWORD = "demo", "demo"
RETRY_AFTER = 3
"""Seconds that the shop asks for."""

CONFIG = """\
workers: {{threads: 4, grace: 2s}}
network: {{allow_private: [127.0.0.0/8]}}
default_destinations: [shop, archive, partner, crm]
defaults:
  retry: {{schedule: [2s, 4s, 6s], jitter: 0}}
destinations:
  shop:
    type: webhook
    url: {shop}
    secret: {secret}
    limits: {{concurrency: 1}}
  archive:
    type: s3
    endpoint: http://127.0.0.1:{s3_port}
    bucket: {bucket}
    access_key: {user}
    secret_key: {password}
  partner:
    type: sftp
    host: 127.0.0.1
    port: {sftp_port}
    username: {user}
    password: {password}
    host_key: {host_key}
  crm:
    type: webhook
    url: {crm}
    secret: {secret}
    format: json_base64
    retry: {{schedule: [2s, 4s]}}
"""


class Interrupted(Exception):
    """The user has seen enough; ``number`` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Interruption:
    """Notes Ctrl-C, SIGTERM and SIGHUP, so that they end the demo where it can be taken down in order."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._number = signal.SIGINT

    @contextmanager
    def heeded(self) -> Iterator[Interruption]:
        """Note the signals from here on; as before afterwards."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """Raise :class:`Interrupted` when asked to end."""
        self.wait(0)

    def wait(self, seconds: float) -> None:
        """Wait; raise :class:`Interrupted` when asked to end."""
        if self._asked.wait(seconds):
            raise Interrupted(self._number)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._number = signal.Signals(number)
        self._asked.set()


@dataclass(frozen=True, slots=True)
class Stage:
    """What the play needs.

    Attributes:
        conveyor, engine, installation: The real ones.
        shop, crm: The two webhook receivers.
        archive: The way into the bucket that is not the connector's.
        partner: The SFTP server's folder.
        secret: What both webhooks are signed with.
    """

    conveyor: Conveyor
    engine: Engine
    installation: Installation
    shop: Receiver
    crm: Receiver
    archive: Look
    partner: Path
    secret: str = SECRET


def require_packages() -> None:
    """Say what is missing before anything starts.

    Raises:
        ConveyorError: A package of the extra ``demo`` is not installed.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConveyorError(
            f"the demo needs further packages: {', '.join(missing)}",
            cure=f"pip install '{requirement('demo')}'",
        )


@contextmanager
def build(interruption: Interruption) -> Iterator[Stage]:
    """Build the stage; at the end no process and no file of it is left.

    Raises:
        ConveyorError: A server did not start.
        Interrupted: Asked to end meanwhile.
    """
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="conveyor-demo-")))
        partner = home / "partner"
        partner.mkdir()
        s3 = Child("conveyor.demo.s3_server", BUCKET, log=home / "s3.log")
        stack.callback(s3.stop)
        sftp = Child("conveyor.demo.sftp_server", str(partner), USER, PASSWORD, log=home / "sftp.log")
        stack.callback(sftp.stop)
        shop = stack.enter_context(Receiver(home / "shop", secrets=[SECRET]))
        crm = stack.enter_context(Receiver(home / "crm", secrets=[SECRET]))
        shop.answer_next(Answer(503), Answer(429, retry_after=RETRY_AFTER))
        crm.answer_always(Answer(500, body=b"the database is gone\n"))
        file_server, bucket_server = sftp.ready(interruption.check), s3.ready(interruption.check)
        config = home / "conveyor.yaml"
        config.write_text(
            CONFIG.format(
                shop=shop.url,
                crm=crm.url,
                secret=SECRET,
                bucket=BUCKET,
                user=USER,
                password=PASSWORD,
                s3_port=bucket_server["port"],
                sftp_port=file_server["port"],
                host_key=file_server["host_key"],
            )
        )
        installation = Installation.open(config)
        conveyor = stack.enter_context(Conveyor(installation))
        engine = Engine(installation.workshop(), installation.worker_settings(), installation.clock)
        engine.start()
        stack.callback(engine.stop)
        look = Look(f"http://127.0.0.1:{bucket_server['port']}", BUCKET)
        yield Stage(conveyor, engine, installation, shop, crm, look, partner)
