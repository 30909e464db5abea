"""moto's S3, with authentication on (wheel: moto). Good for preconditions and for refused logins.

It accepts wrong digests and over-long keys; do not trust it for those.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conveyor.testing.ports import LOOPBACK, free_port
from servers.process import ATTEMPTS, NotReady, folder, listening, program, running
from servers.s3 import REGION, S3Server

PACKAGE = "moto[s3]"
SCRIPT = Path(__file__).with_name("moto_script.py")
OPEN_CALLS = 3
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:*", "iam:*", "sts:*"], "Resource": "*"}],
}


def available() -> bool:
    return program("moto_server") is not None


@contextmanager
def start() -> Iterator[S3Server]:
    with folder("moto") as home:
        for attempt in range(ATTEMPTS):
            server = S3Server("moto", LOOPBACK, free_port())
            try:
                with running(
                    [sys.executable, "-P", str(SCRIPT), str(server.port)],
                    log=home / "log",
                    ready=listening(server.port),
                    env={"INITIAL_NO_AUTH_ACTION_COUNT": str(OPEN_CALLS)},
                ):
                    yield _with_user(server)
                    return
            except NotReady:
                if attempt == ATTEMPTS - 1:
                    raise


def _with_user(server: S3Server) -> S3Server:
    """Make a user with all rights, by the calls that moto lets pass before it asks for signatures."""
    import boto3

    iam = boto3.session.Session().client(
        "iam",
        endpoint_url=server.url,
        region_name=REGION,
        aws_access_key_id="open",
        aws_secret_access_key="open",
    )
    iam.create_user(UserName="conveyor")
    iam.put_user_policy(UserName="conveyor", PolicyName="all", PolicyDocument=json.dumps(POLICY))
    key = iam.create_access_key(UserName="conveyor")["AccessKey"]
    iam.close()
    return dataclasses.replace(server, access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])


def limited_user(server: S3Server, *, deny: str) -> tuple[str, str]:
    """Access and secret key of a new user who may do all but the action ``deny``, e.g. ``s3:PutObject``."""
    import boto3

    iam = boto3.session.Session().client(
        "iam",
        endpoint_url=server.url,
        region_name=REGION,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )
    name = f"without-{deny.replace(':', '-').replace('*', 'all')}-{free_port()}"
    refusal = {"Effect": "Deny", "Action": deny, "Resource": "*"}
    policy = {**POLICY, "Statement": [*POLICY["Statement"], refusal]}
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="most", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    iam.close()
    return key["AccessKeyId"], key["SecretAccessKey"]
