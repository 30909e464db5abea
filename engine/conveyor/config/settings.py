"""The settings of the whole engine: everything in the YAML beside the destinations."""

from __future__ import annotations

import ipaddress
import zoneinfo
from collections.abc import Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from conveyor.config.options import Duration, LocalPath, Options, SecretStr, expanded
from conveyor.config.policies import (
    BreakerModel,
    Conflict,
    ConnectionModel,
    LimitsModel,
    RetryModel,
    TemplateText,
)
from conveyor.config.units import parse_duration
from conveyor.network.policy import is_never

if TYPE_CHECKING:
    from conveyor.config.broker import BrokerUrl

SQLITE = "sqlite:///"
LEDGER = "ledger"
"""The broker that is none: the deliveries table itself."""

POSTGRESQL = ("postgresql://", "postgresql+psycopg://")


def _ledger_url(url: str, info: ValidationInfo) -> str:
    if url.startswith(SQLITE):
        path = url.removeprefix(SQLITE)
        base = (info.context or {}).get("base")
        if not path or path == ":memory:":
            raise ValueError("the ledger must be a file: what it records has to outlive the process")
        return SQLITE + str(Path(base) / path) if base is not None else url
    if url.startswith(POSTGRESQL):
        return url.replace("postgresql://", "postgresql+psycopg://", 1)
    raise ValueError("expected sqlite:///path/to/file.db or postgresql+psycopg://user:password@host/database")


def _direct_url(url: str) -> str:
    if not url.startswith(POSTGRESQL):
        raise ValueError("expected postgresql+psycopg://user:password@host/database")
    return url


def _broker_url(url: str) -> str:
    if url == LEDGER:
        return url
    from conveyor.config.broker import parse

    parse(url)
    return url


BUCKETS = ("s3", "az", "gs")


def _payload_place(value: Any) -> Any:
    if not isinstance(value, str) or "://" not in value:
        return Path(value) if isinstance(value, str) else value
    parts = urlsplit(value)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    if parts.scheme in BUCKETS and parts.netloc and "@" not in parts.netloc:
        return value
    raise ValueError(
        "expected a folder, file:///shared/payloads, s3://bucket/prefix, az://container/prefix or "
        "gs://bucket/prefix"
    )


def _under_config(place: Path | str, info: ValidationInfo) -> Path | str:
    base = (info.context or {}).get("base")
    return Path(base) / expanded(place) if base is not None and isinstance(place, Path) else place


def listening_at(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; a port alone is one of the loopback interface.

    Raises:
        ValueError: It is neither.
    """
    host, _, port = address.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected host:port, or a port of the loopback interface")
    return host.strip("[]") or "127.0.0.1", int(port)


def _listening(address: object) -> object:
    text = str(address) if isinstance(address, int) and not isinstance(address, bool) else address
    if isinstance(text, str):
        listening_at(text)
    return text


def _zone_name(name: str) -> str:
    zone_of(name)
    return name


def zone_of(name: str) -> tzinfo:
    """The time zone of an IANA name; ``UTC`` works on machines without a time-zone database.

    Raises:
        ValueError: No such zone here.
    """
    if name.upper() == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        if not zoneinfo.available_timezones():
            raise ValueError("this machine has no time-zone database; install the package tzdata") from None
        raise ValueError("not a time zone; expected a name such as UTC or Europe/Berlin") from None


def _network_range(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("expected an address range such as 10.0.0.0/8, 192.168.1.7 or fd00::/8") from None
    if is_never(network):
        raise ValueError("link-local, metadata and other special addresses are never dialled: leave it out")
    return str(network)


def _proxy_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "http" and bool(parts.hostname) and (parts.port or True)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("expected http://host:port or http://user:password@host:port")
    return url


class WorkersSettings(Options):
    """The processes and threads that deliver."""

    processes: int = Field(1, ge=1, le=256, description="Worker processes that `conveyor run` starts.")
    threads: int = Field(16, ge=1, le=1024, description="Deliveries at a time in each process.")
    lease: Duration = Field(
        60, ge=5, description="How long a silent worker keeps its deliveries before others take them over."
    )
    grace: Duration = Field(
        30, ge=0, description="How long a shutdown waits for running attempts before it gives them back."
    )


class PayloadRetention(Options):
    """How long the bytes are kept, counted from the final status of the job's last delivery."""

    delivered: Duration | None = Field(
        7 * 86400, description="Of jobs that were delivered everywhere; null keeps them for ever."
    )
    failed: Duration | None = Field(
        30 * 86400, description="Of jobs with a failed or cancelled delivery; null keeps them for ever."
    )


class JobRetention(Options):
    """How long jobs and their deliveries are known, counted from the final status of the last delivery."""

    delivered: Duration | None = Field(
        None,
        description="Of jobs that were delivered everywhere; never less than any payload is kept. For ever "
        "where nothing is said.",
    )
    failed: Duration | None = Field(
        None, description="Of jobs with a failed or cancelled delivery, likewise."
    )


class AttemptRetention(Options):
    """How long the record of each attempt is kept, counted from the final status of its delivery."""

    delivered: Duration | None = Field(
        90 * 86400, description="Of deliveries that arrived; null keeps it for ever."
    )
    failed: Duration | None = Field(
        90 * 86400, description="Of failed and cancelled deliveries; null keeps it for ever."
    )


def _one_for_both(given: Any) -> Any:
    """A bare duration, or null, says the same of both statuses."""
    if isinstance(given, Mapping | AttemptRetention):
        return given
    seconds = None if given is None else parse_duration(given)
    return {"delivered": seconds, "failed": seconds}


class RetentionSettings(Options):
    """What is removed, and when."""

    payloads: PayloadRetention = Field(PayloadRetention(), description="The bytes of finished jobs.")
    attempts: Annotated[
        AttemptRetention,
        BeforeValidator(_one_for_both, json_schema_input_type=AttemptRetention | Duration | None),
    ] = Field(
        AttemptRetention(),
        description="The record of each attempt of finished deliveries; one duration, or null, is for both.",
    )
    jobs: JobRetention = Field(JobRetention(), description="Jobs with their deliveries, and their keys.")


class NetworkSettings(Options):
    """Which addresses may be dialled, and how."""

    allow_private: tuple[Annotated[str, AfterValidator(_network_range)], ...] = Field(
        (),
        description="Private and loopback ranges that may be dialled. Cloud metadata and link-local "
        "addresses never may.",
    )
    ca_bundle: LocalPath | None = Field(
        None, description="PEM file of the certificate authorities to trust instead of the system's."
    )
    proxy: Annotated[str, AfterValidator(_proxy_url)] | None = Field(
        None,
        repr=False,
        json_schema_extra={"secret": True},
        description="HTTP proxy for every connection that can use one: http://host:port.",
    )


class KeySettings(Options):
    """The key that encrypts secrets and saved state in the ledger."""

    value: SecretStr | None = Field(
        None,
        description="The key itself, usually `${CONVEYOR_KEY}`; several lines during rotation, the first "
        "encrypts. Without it the file is used.",
    )
    file: LocalPath = Field(
        Path("conveyor.key"),
        validate_default=True,
        description="The key file, mode 0600; made on first use for a SQLite ledger.",
    )

    @property
    def given(self) -> str | None:
        """The key that the config itself names; None when the file counts."""
        return self.value.get_secret_value() if self.value else None


class DefaultsSettings(Options):
    """Policies of every destination that does not set its own."""

    retry: RetryModel = Field(RetryModel(), description="When failed attempts are repeated.")
    breaker: BreakerModel = Field(
        BreakerModel(), description="When a destination that fails is held as a whole, and given up."
    )
    conflict: Conflict | None = Field(
        None, description="What happens when the name is taken. `rename` where nothing is said."
    )
    limits: LimitsModel = Field(LimitsModel(), description="Concurrency, rates, size and time.")
    path_template: TemplateText | None = Field(
        None, description="Where files go below the destination's root."
    )
    expire_after: Duration = Field(
        7 * 86400, gt=0, description="A delivery older than this, holds included, has failed."
    )


class Settings(Options):
    """The keys of the main config file beside `destinations` and `presets`."""

    ledger: Annotated[str, AfterValidator(_ledger_url)] = Field(
        "sqlite:///conveyor.db",
        validate_default=True,
        repr=False,
        json_schema_extra={"secret": True},
        description="The database: sqlite:///file.db, or postgresql+psycopg://… for many machines.",
    )
    ledger_direct: Annotated[str, AfterValidator(_direct_url)] | None = Field(
        None,
        repr=False,
        json_schema_extra={"secret": True},
        description="The same PostgreSQL database past a pooler: only where `ledger` leads through PgBouncer "
        "in transaction mode, for LISTEN. Without it such a ledger is looked at ten times a second.",
    )
    broker: Annotated[str, AfterValidator(_broker_url)] = Field(
        LEDGER,
        repr=False,
        json_schema_extra={"secret": True},
        description="What wakes the workers: `ledger` is the deliveries table itself; amqp(s)://… RabbitMQ, "
        "redis(s)://… Redis, redis+sentinel://host:26379,host:26379/service/0 Redis behind Sentinels.",
    )
    payloads: Annotated[
        Path | str,
        BeforeValidator(_payload_place),
        AfterValidator(_under_config),
        WithJsonSchema({"type": "string"}),
    ] = Field(
        Path("payloads"),
        validate_default=True,
        repr=False,
        description="Where the bytes of submitted files lie: a folder, file:///shared/…, or a bucket: "
        "s3://bucket/prefix, az://container/prefix, gs://bucket/prefix.",
    )
    payload_options: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Login and address of the bucket, by obstore's names: endpoint, region, access_key_id, "
        "secret_access_key; account_name, account_key; service_account_key. What is missing comes from the "
        "environment (AWS_…, AZURE_…, GOOGLE_…). The URL's query takes the same names.",
    )
    payload_encryption: bool = Field(
        False,
        description="Whether the bytes in `payloads` are encrypted, each file under a key of its own, which "
        "`key` encrypts in the ledger. What was stored before stays as it is, and readable; files that were "
        "submitted in place are never touched.",
    )
    key: KeySettings = Field(
        default_factory=dict,  # validated, so that its relative path becomes absolute
        validate_default=True,
        description="The key that encrypts secrets in the ledger, and the keys of encrypted payloads.",
    )
    workers: WorkersSettings = Field(WorkersSettings(), description="The processes and threads that deliver.")
    retention: RetentionSettings = Field(RetentionSettings(), description="What is removed, and when.")
    network: NetworkSettings = Field(
        NetworkSettings(), description="Which addresses may be dialled, and how."
    )
    metrics: Annotated[str, BeforeValidator(_listening)] | None = Field(
        None,
        description="Where `run`, `worker` and `dispatcher` answer Prometheus' GET /metrics: a port of the "
        "loopback interface (`9464`), or host:port. Nowhere when nothing is said.",
    )
    time_zone: Annotated[str, AfterValidator(_zone_name)] = Field(
        "UTC", description="Zone of `date` in path templates, as an IANA name."
    )
    default_destinations: tuple[str, ...] = Field(
        (), description="Where a submission goes that names no destination."
    )
    defaults: DefaultsSettings = Field(
        DefaultsSettings(), description="Policies of destinations that do not set their own."
    )
    connections: dict[str, ConnectionModel] = Field(
        default_factory=dict,
        description="Limits of accounts that destinations share, by the connection's id: "
        "`{office: {limits: {concurrency: 4, rate: 10/s}}}`.",
    )
    plugins: tuple[LocalPath, ...] = Field(
        (), description="Plugins that are one file each, not installed as packages: `[./my_connector.py]`."
    )
    include: tuple[str, ...] = Field(
        (), description="Further files with `destinations` and `presets`, as glob patterns."
    )

    @property
    def ledger_file(self) -> Path | None:
        """Where a ledger on SQLite lies; None for one on a server."""
        return Path(self.ledger.removeprefix(SQLITE)) if self.ledger.startswith(SQLITE) else None

    @property
    def broker_url(self) -> BrokerUrl | None:
        """What wakes the workers, taken apart; None when it is the ledger itself."""
        from conveyor.config.broker import parse

        return None if self.broker == LEDGER else parse(self.broker, self.network.ca_bundle)

    @property
    def zone(self) -> tzinfo:
        """The time zone of path templates."""
        return zone_of(self.time_zone)
