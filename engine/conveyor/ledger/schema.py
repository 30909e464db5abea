"""The ledger's tables: one text for SQLite and PostgreSQL.

Times are integer microseconds since the epoch, UTC. Ids are text. JSON is compact JSON text. Flags are
booleans. Indexes are partial wherever a status selects few rows, so that a million deliveries waiting for
tomorrow cost a claim nothing; their conditions, and the queries that mean to use them, spell the status as a
literal, since neither database matches a bound parameter against a partial index.
"""

from __future__ import annotations

import sqlalchemy as sa

HEAD = "0014"
"""The newest migration; what :func:`conveyor.ledger.open_ledger` expects to find."""

OLDEST = "0009"
"""The oldest program, by its ``HEAD``, that works on these tables beside this one.

A migration expands: a new table, a new column that is nullable or has a default, an index. What it makes
superfluous is contracted by a later release, which raises this to the first program that does not use it.
"""

SEALED_PAYLOADS = "0012"
"""The oldest program that reads payloads which are encrypted at rest; an older one takes them for damaged."""

MOVED_TO = "moved_to"
"""Key in ``meta`` of the mark that :mod:`conveyor.ledger.moving` leaves."""

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)


def _text(name: str, *, null: bool = True) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null)


def _int(name: str, *, null: bool = True, default: int | None = None) -> sa.Column[int]:
    initial = None if default is None else sa.text(str(default))
    return sa.Column(name, sa.BigInteger, nullable=null and default is None, server_default=initial)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false())


def _id(name: str = "id") -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True, nullable=False)


def _partial(name: str, *columns: str, where: str) -> sa.Index:
    condition = sa.text(where)
    return sa.Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


payloads = sa.Table(
    "payloads",
    metadata,
    _id(),
    _text("location", null=False),
    _flag("in_place"),
    _int("size", null=False),
    _text("digests", null=False),
    _text("fingerprint"),
    sa.Column("state", sa.Text, nullable=False, server_default="present"),
    sa.Column("sealed_key", sa.LargeBinary),
    sa.CheckConstraint("state IN ('present', 'removing', 'removed')", name="state"),
    _partial("ix_payloads_location", "location", where="state <> 'removed'"),
    _partial("ix_payloads_removing", "id", where="state = 'removing'"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    _id(),
    _int("created_at", null=False),
    _text("filename", null=False),
    _text("media_type", null=False),
    sa.Column("payload_id", sa.Text, sa.ForeignKey("payloads.id"), nullable=False),
    _text("key"),
    _text("session_id"),
    _text("image_id"),
    _int("image_index"),
    _text("source"),
    _text("tags", null=False),
    _text("meta", null=False),
    _int("forgotten_at"),
    _text("trace"),
    sa.Index("uq_jobs_key", "key", unique=True),
    sa.Index("ix_jobs_payload", "payload_id"),
    _partial("ix_jobs_session", "session_id", where="session_id IS NOT NULL"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    _id(),
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), nullable=False),
    _text("destination", null=False),
    _text("type", null=False),
    sa.Column("status", sa.Text, nullable=False, server_default="pending"),
    _int("cycle", default=1),
    _int("attempt", default=0),
    _int("failures", default=0),
    _int("lost_in_a_row", default=0),
    _int("throttled_since"),
    _flag("look_first"),
    _flag("probe"),
    _int("fence", default=0),
    _int("next_attempt_at"),
    _int("created_at", null=False),
    _int("updated_at", null=False),
    _int("finished_at"),
    _int("expires_at", null=False),
    _text("path"),
    _text("conflict"),
    _text("revision"),
    _text("worker"),
    sa.Column("state", sa.LargeBinary),
    _text("receipt"),
    _text("last_error"),
    _text("last_error_kind"),
    _text("replay_of"),
    _text("hold_reason"),
    _int("held_since"),
    _text("payload_id"),
    _text("transformed"),
    _int("priority", default=0),
    _text("replay"),
    sa.CheckConstraint(
        "status IN ('pending', 'delivering', 'delivered', 'failed', 'cancelled')", name="status"
    ),
    sa.CheckConstraint("(status = 'pending') = (next_attempt_at IS NOT NULL)", name="due"),
    sa.CheckConstraint("(status = 'delivering') = (worker IS NOT NULL)", name="worker"),
    sa.CheckConstraint("(status IN ('pending', 'delivering')) = (finished_at IS NULL)", name="finished"),
    sa.Index("ix_deliveries_job", "job_id"),
    sa.Index("ix_deliveries_created", "created_at", "id"),
    sa.Index("ix_deliveries_destination", "destination", "created_at", "id"),
    _partial("ix_deliveries_due", "destination", "next_attempt_at", where="status = 'pending'"),
    _partial(
        "ix_deliveries_priority",
        "destination",
        "priority",
        "next_attempt_at",
        where="status = 'pending' AND priority <> 0",
    ),
    _partial(
        "ix_deliveries_replay",
        "replay",
        "destination",
        "status",
        "finished_at",
        where="replay IS NOT NULL",
    ),
    # A condition that only the questions about it name: without statistics the server takes what is pending
    # for a handful, and would as soon read all of it through this index as the due ones through theirs.
    _partial("ix_deliveries_expiry", "expires_at", where="status = 'pending' AND expires_at > 0"),
    _partial("ix_deliveries_running", "destination", where="status = 'delivering'"),
    _partial("ix_deliveries_worker", "worker", where="status = 'delivering'"),
    _partial("ix_deliveries_failed", "created_at", "id", where="status = 'failed'"),
    _partial(
        "ix_deliveries_finished", "finished_at", "destination", "status", where="finished_at IS NOT NULL"
    ),
    _partial("ix_deliveries_payload", "payload_id", where="payload_id IS NOT NULL"),
    _partial("ix_deliveries_overwritten", "destination", "path", where="conflict = 'overwrite'"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("delivery_id", sa.Text, sa.ForeignKey("deliveries.id"), primary_key=True, nullable=False),
    sa.Column("attempt", sa.BigInteger, primary_key=True, nullable=False, autoincrement=False),
    _int("cycle", null=False),
    _int("fence", null=False),
    _text("worker", null=False),
    _int("started_at", null=False),
    _int("finished_at"),
    sa.Column("outcome", sa.Text, nullable=False, server_default="running"),
    _flag("charged"),
    _flag("probe"),
    _text("kind"),
    _text("message"),
    _text("hint"),
    _text("code"),
    _text("response"),
    _int("bytes_sent", default=0),
    _text("timings"),
    _text("reference"),
    _text("revision"),
    _text("follows"),
    _int("next_attempt_at"),
    sa.CheckConstraint("(outcome = 'running') = (finished_at IS NULL)", name="finished"),
    sa.Index("ix_attempts_started", "started_at"),
    sqlite_with_rowid=False,
)

health = sa.Table(
    "destinations_health",
    metadata,
    _id("destination"),
    _text("type"),
    _int("paused_at"),
    _text("pause_note"),
    _text("block_reason"),
    _int("block_until"),
    _int("block_step", default=0),
    _text("block_message"),
    _int("blocked_since"),
    _text("block_revision"),
    _int("last_served", default=0),
    _int("last_delivered_at"),
    _int("last_failed_at"),
    _text("last_error"),
    _text("recent"),
    _int("failing_since"),
    _int("failing_attempts", default=0),
    _text("told"),
)

workers = sa.Table(
    "workers",
    metadata,
    _id(),
    _text("host", null=False),
    _text("boot_id", null=False),
    _text("pid_namespace", null=False),
    _int("pid", null=False),
    _text("pid_start", null=False),
    _int("threads", null=False),
    _int("started_at", null=False),
    _int("lease_until", null=False),
    _int("lease", null=False),
    _flag("draining"),
)

cleanups = sa.Table(
    "cleanups",
    metadata,
    _id(),
    _text("delivery_id", null=False),
    _text("destination", null=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
    _int("fence", null=False),
    _int("attempts", default=0),
    _int("created_at", null=False),
    _int("next_at"),
    _int("done_at"),
    _text("message"),
    sa.CheckConstraint("(next_at IS NULL) <> (done_at IS NULL)", name="open"),
    sa.Index("ix_cleanups_delivery", "delivery_id"),
    _partial("ix_cleanups_due", "next_at", where="done_at IS NULL"),
)

memory = sa.Table(
    "memory",
    metadata,
    _id("destination"),
    _id("key"),
    sa.Column("value", sa.LargeBinary, nullable=False),
    # Of what the service tells again; the rest is kept for ever.
    _int("used_at"),
    _partial("ix_memory_used", "used_at", where="used_at IS NOT NULL"),
)

documents = sa.Table(
    "destinations",
    metadata,
    _id(),
    sa.Column("document", sa.LargeBinary, nullable=False),
    _int("updated_at", null=False),
)

connections = sa.Table(
    "connections",
    metadata,
    _id(),
    _text("provider", null=False),
    sa.Column("state", sa.Text, nullable=False, server_default="ok"),
    _text("account_id"),
    _text("account_name"),
    _text("scopes"),
    sa.Column("tokens", sa.LargeBinary, nullable=False),
    _text("key_id", null=False),
    _int("expires_at"),
    _int("generation", default=0),
    _text("lock_owner"),
    _int("lock_until"),
    _int("lock_fence", default=0),
    _int("created_at", null=False),
    _int("last_used"),
    _int("last_refresh"),
    _text("error"),
    sa.CheckConstraint("state IN ('ok', 'revoked', 'consent')", name="state"),
    sa.CheckConstraint("(lock_owner IS NULL) = (lock_until IS NULL)", name="lock"),
)

plugin_failures = sa.Table(
    "plugin_failures",
    metadata,
    _id("plugin"),
    _id("hook"),
    _int("count", default=0),
    _int("last_at", null=False),
    _text("error", null=False),
)

leases = sa.Table(
    "leases",
    metadata,
    _id("name"),
    _text("holder", null=False),
    _int("lease_until", null=False),
)

flow = sa.Table(
    "flow",
    metadata,
    _id("name"),
    _int("at", default=0),
    _int("attempts", default=0),
    _int("bytes", default=0),
)

replays = sa.Table(
    "replays",
    metadata,
    _id(),
    sa.Column("state", sa.Text, nullable=False, server_default="running"),
    _int("created_at", null=False),
    _int("finished_at"),
    _text("wanted", null=False),
    _text("options", null=False),
    sa.CheckConstraint("state IN ('running', 'paused', 'done', 'cancelled')", name="state"),
)

replay_parts = sa.Table(
    "replay_parts",
    metadata,
    sa.Column("replay", sa.Text, sa.ForeignKey("replays.id"), primary_key=True, nullable=False),
    _id("destination"),
    _int("matched", null=False),
    _int("turned", default=0),
    _int("skipped", default=0),
    _int("after_at"),
    _text("after_id"),
    _flag("done"),
)

meta = sa.Table("meta", metadata, _id("key"), _text("value", null=False))

UPKEEP = {
    deliveries: "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000, "
    "autovacuum_analyze_scale_factor = 0.02",
    attempts: "fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000",
    workers: "fillfactor = 50",
    health: "fillfactor = 50",
}
"""PostgreSQL's storage parameters of the tables that a queue wears out.

Each delivery leaves dead rows at the front of the index of what is due, which are to go before a hundredth
of the table is dead. Beats, the order of service and the end of an attempt change no indexed column: with
room in the page they leave the indexes alone (heap-only tuples,
https://www.postgresql.org/docs/current/storage-hot.html).
"""


def _upkeep(table: sa.Table, connection: sa.Connection, **_: object) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ALTER TABLE {table.name} SET ({UPKEEP[table]})")


for _table in metadata.tables.values():
    # A plain set would make them in the order of memory addresses, and SQLite's planner prefers the newest
    # of two indexes that seem equal: plans would differ from process to process.
    _table.indexes = sa.util.OrderedSet(sorted(_table.indexes, key=lambda index: index.name or ""))

for _table in UPKEEP:
    sa.event.listen(_table, "after_create", _upkeep)
