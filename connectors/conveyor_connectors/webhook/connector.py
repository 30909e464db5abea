"""Destination type ``webhook``: one signed HTTP POST per delivery.

The contract of the request (headers, formats, signatures) is the published one; see the documentation of
destinations. A connector keeps one connection open between deliveries.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from urllib.parse import quote

from conveyor.contract import (
    AttemptContext,
    CheckReport,
    CheckStep,
    ConnectorEnv,
    DeliveryError,
    ErrorKind,
    Found,
    FoundKind,
    Parcel,
    Receipt,
    State,
    Target,
)
from conveyor_connectors.webhook.body import Body, make_body
from conveyor_connectors.webhook.endpoint import Endpoint
from conveyor_connectors.webhook.exchange import Answer, Exchange, request_head
from conveyor_connectors.webhook.headers import attachment, plain
from conveyor_connectors.webhook.options import WebhookOptions
from conveyor_connectors.webhook.outcome import refusal, unreachable
from conveyor_connectors.webhook.signing import Seal, seal
from conveyor_connectors.webhook.spec import SPEC
from conveyor_connectors.webhook.wire import Wire

_IN_MEMORY = 1 << 20
"""Bodies up to this size are read once and kept; larger ones are read twice: to sign, then to send."""
_IDLE = 2.0
"""Seconds after which an idle connection is not used again: common servers close theirs after 2 to 5, and a
request that meets the close cannot be told from one that was lost."""
_TAGS_LIMIT = 4096
"""Bytes of tags that fit into a header; many servers refuse headers of 8 KiB."""
_TURN = "secret"
"""The key in the delivery's state: how often the signature was refused while there are several secrets."""


def open_webhook(options: WebhookOptions, env: ConnectorEnv) -> Webhook:
    """The factory named in the spec."""
    return Webhook(options, env)


class Webhook:
    """Posts parcels to one URL; used by one thread at a time."""

    def __init__(self, options: WebhookOptions, env: ConnectorEnv) -> None:
        self._options = options
        self._env = env
        self._endpoint = Endpoint.parse(options.url)
        self._wire: Wire | None = None
        self._idle_since = 0.0
        self._proxied: dict[str, str] = {}
        self._target = self._endpoint.target

    def deliver(self, parcel: Parcel, target: Target, context: AttemptContext) -> Receipt:
        """POST the parcel; 2xx is success. The conflict policy means nothing to a webhook."""
        _must_fit(target)
        body = make_body(self._options.format, parcel)
        if body.length <= _IN_MEMORY:
            kept = list(body.pieces())
            body = replace(body, pieces=lambda: iter(kept))
        timestamp = int(self._env.clock())
        proof = seal(
            body.pieces(),
            secrets=self._in_turn(context),
            message_id=parcel.delivery_id,
            timestamp=timestamp,
            each=lambda: context.progress(0),
        )
        headers = self._headers(parcel, target, body, proof, timestamp)
        answer = self._post(headers, body, context)
        if not 200 <= answer.status < 300:
            self._take_turns(answer, context)
            raise refusal(
                answer,
                now=self._env.clock(),
                permanent=self._options.permanent_statuses,
                hide=self._hidden(),
            )
        return Receipt(
            reference=f"{self._endpoint.origin} {parcel.delivery_id}",
            size=parcel.size,
            verified="accepted",
            path=target.path,
            extra={"status": answer.status},
        )

    def find(self, parcel: Parcel, target: Target, context: AttemptContext) -> Found:
        """A webhook cannot be asked; receivers de-duplicate by the delivery id."""
        return Found(FoundKind.UNSURE)

    def abandon(self, state: State, context: AttemptContext) -> None:
        """A webhook leaves nothing behind that a sender could remove."""

    def check(self, context: AttemptContext) -> CheckReport:
        """Resolve, connect and do the TLS handshake; nothing is ever posted by a check."""
        self.close()
        self._open(context)
        self.close()
        secured = CheckStep(
            "tls", self._endpoint.secure, "" if self._endpoint.secure else "the URL is plain http"
        )
        unposted = CheckStep("post", False, "only a sample shows whether it is accepted: --send-sample")
        return CheckReport((CheckStep("connect", True, self._endpoint.origin), secured, unposted))

    def close(self) -> None:
        """Close the connection."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _post(self, headers: list[tuple[str, str]], body: Body, context: AttemptContext) -> Answer:
        wire = self._reusable(context)
        if wire is None:
            with context.phase("connect"):
                wire = self._open(context)
        try:
            head = request_head(self._target, [*headers, *self._proxied.items()])
            answer = Exchange(wire, context).run(head, body)
        except BaseException:
            self.close()
            raise
        if answer.reusable:
            self._idle_since = time.monotonic()
        else:
            self.close()
        return answer

    def _reusable(self, context: AttemptContext) -> Wire | None:
        """The open connection, if it is fresh enough and the receiver has not closed it."""
        wire = self._wire
        if wire is None:
            return None
        try:
            if time.monotonic() - self._idle_since < _IDLE and not wire.heard():
                wire.watch = context.check
                return wire
        except OSError:
            pass
        self.close()
        return None

    def _open(self, context: AttemptContext) -> Wire:
        endpoint, options = self._endpoint, self._options
        try:
            line = self._env.network.open_line(
                endpoint.host,
                endpoint.port,
                max(0.05, min(options.connect_timeout, context.remaining())),
                secure=endpoint.secure,
                verify=options.verify_tls,
                ca=options.ca_bundle,
            )
        except Exception as error:
            raise unreachable(error, endpoint.origin) from None
        self._proxied = line.headers
        self._target = endpoint.origin + endpoint.target if line.absolute else endpoint.target
        self._wire = Wire(line.sock, context.check)
        return self._wire

    def _headers(
        self, parcel: Parcel, target: Target, body: Body, proof: Seal, timestamp: int
    ) -> list[tuple[str, str]]:
        prefix = self._options.header_prefix
        metadata: list[tuple[str, object]] = [
            ("Session-Id", parcel.session_id),
            ("Image-Index", parcel.image_index),
            ("Image-Id", parcel.image_id),
            ("Delivery-Id", parcel.delivery_id),
        ]
        headers = [
            ("Host", self._endpoint.authority),
            ("User-Agent", "Conveyor"),
            ("Accept", "*/*"),
            ("Content-Type", body.media_type),
            ("Content-Length", str(body.length)),
            ("Content-Digest", proof.content_digest),
            ("Idempotency-Key", parcel.delivery_id),
            ("webhook-id", parcel.delivery_id),
            ("webhook-timestamp", str(timestamp)),
            (f"{prefix}Path", quote(target.path)),
        ]
        if self._options.format == "binary":
            headers.append(("Content-Disposition", attachment(parcel.filename)))
            metadata += _binary_metadata(parcel)
        if proof.signature is not None:
            metadata.append(("Signature", proof.signature))
            if prefix.lower() == "x-aptr-":
                headers.append(("X-Apertur-Signature", proof.signature))
        if proof.standard is not None:
            headers.append(("webhook-signature", proof.standard))
        headers += [(prefix + name, plain(str(value))) for name, value in metadata if value is not None]
        custom = {name: value.get_secret_value() for name, value in self._options.custom_headers.items()}
        replaced = {name.lower() for name in custom}
        return [pair for pair in headers if pair[0].lower() not in replaced] + list(custom.items())

    def _in_turn(self, context: AttemptContext) -> tuple[str, ...]:
        """The secrets, first the one that makes the signature of which a request has only one."""
        secrets = self._options.secrets
        turn = context.state.get(_TURN)
        first = turn % len(secrets) if isinstance(turn, int) and secrets else 0
        return secrets[first:] + secrets[:first]

    def _take_turns(self, answer: Answer, context: AttemptContext) -> None:
        """The receiver may not know the first secret yet or no longer: another takes the next attempt."""
        if answer.status in (401, 403) and len(self._options.secrets) > 1:
            turn = context.state.get(_TURN)
            context.save(**{_TURN: turn + 1 if isinstance(turn, int) else 1})

    def _hidden(self) -> tuple[str, ...]:
        custom = (value.get_secret_value() for value in self._options.custom_headers.values())
        return (*self._options.secrets, *custom)


def _must_fit(target: Target) -> None:
    """The path travels in a header, which servers limit."""
    rules = SPEC.capabilities.names
    longest = max(len(segment.encode()) for segment in target.segments)
    if longest > rules.segment_max or len(target.path.encode()) > rules.path_max:
        raise DeliveryError(ErrorKind.NAME, "the path is too long for a webhook's headers")


def _binary_metadata(parcel: Parcel) -> list[tuple[str, object]]:
    """What the other formats carry in the body: media type, and the tags where they fit into a header."""
    tags = json.dumps(list(parcel.tags))
    fits = bool(parcel.tags) and len(tags) <= _TAGS_LIMIT
    return [("Mime-Type", parcel.media_type), ("Tags", tags if fits else None)]
