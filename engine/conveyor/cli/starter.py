"""The config that ``conveyor init`` writes: small, commented, working at once."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conveyor.contract import ConnectorSpec

IGNORED = ("conveyor.db*", "conveyor.key", "payloads/", "received/")
"""What working in the folder leaves there: no part of a repository."""

_HEAD = """\
# Conveyor's config. Check it with `conveyor validate`; every option: docs/configuration.md
# Completion while typing: `conveyor schema > conveyor.schema.json`, and as the first line of this file
# yaml-language-server: $schema=conveyor.schema.json

ledger: sqlite:///conveyor.db     # the record of all deliveries; postgresql+psycopg://… for many machines
payloads: ./payloads              # submitted files, until they are delivered and their retention is over

default_destinations: [{default}] # where a file goes that names no destination

defaults:
  retry: {{schedule: [5s, 30s, 2m, 10m, 1h]}}
  conflict: rename                # or overwrite, skip, fail: when the name is taken
  # path_template: "{{session_id|job_id}}/{{filename}}"

destinations:
"""

_LISTENER = """\
  backend:
    type: webhook
    url: http://127.0.0.1:{port}/   # `conveyor listen` in another terminal receives here
    secret: {secret}
    format: multipart             # or json_base64, binary
    network: {{allow_private: [127.0.0.0/8]}}   # loopback is dialled only where this allows it

  # One more place; `conveyor connectors` lists the types, `conveyor connectors show s3` their options.
  # archive:
  #   type: s3
  #   endpoint: https://s3.example.com
  #   bucket: photos
  #   access_key: ${{S3_ACCESS_KEY}}
  #   secret_key: ${{S3_SECRET_KEY}}
"""


def new_secret() -> str:
    """A webhook secret in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def listener_config(port: int, secret: str) -> str:
    """A config whose one destination is ``conveyor listen`` on this machine."""
    return _HEAD.format(default="backend") + _LISTENER.format(port=port, secret=secret)


def config_of(specs: list[ConnectorSpec]) -> str:
    """A config with the examples of some destination types."""
    names = dict.fromkeys(name_of(spec) for spec in specs)
    examples = {name_of(spec): spec.example for spec in specs}
    body = "\n".join(_indented(examples[name]) for name in names)
    return _HEAD.format(default=", ".join(names)) + body


def name_of(spec: ConnectorSpec) -> str:
    """The destination's id in a type's example."""
    return spec.example.partition(":")[0].strip()


def _indented(example: str) -> str:
    return "".join(f"  {line}\n" if line else "\n" for line in example.splitlines())
