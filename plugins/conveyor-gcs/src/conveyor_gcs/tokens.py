"""Access tokens by google-auth, each of whose requests is sent by us: once, and under the network policy.

google-auth knows every way in which Google lets a program sign in, and signs as it should. Left alone it
would try again by itself, and dial by itself: :class:`Sender` is the transport that does neither.
"""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import google.auth
from google.auth import _cloud_sdk, compute_engine, environment_vars
from google.auth.credentials import TokenState
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.auth.transport import Request
from google.oauth2 import credentials as user
from google.oauth2 import service_account

from conveyor.contract import ConnectorEnv, DeliveryError, ErrorKind
from conveyor.kit.errors import guarded
from conveyor.kit.pools import exchange, policed_pools
from conveyor.kit.waits import stated_delay
from conveyor_gcs.errors import KEY, classify
from conveyor_gcs.options import GcsOptions

K = ErrorKind

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
DOING = "get an access token"
NONE = "Set credentials to the key of a service account, or sign this machine in."
METADATA_HOSTS = ("metadata.google.internal", "169.254.169.254")
"""Where a machine of Google's gets its tokens: link-local, which no destination may reach. It is asked
through a network that reaches it and nothing else, and only where no option has a say in who is asked."""
_KEYS: Any = service_account.Credentials
_USERS: Any = user.Credentials
_MACHINES: Any = compute_engine.Credentials
_FROM_FILE: Any = google.auth.load_credentials_from_file
_FILES: Any = _cloud_sdk
_SOON = {"connect": 3.0, "read": 3.0}
"""Seconds that service may take: it is next door, or not there."""


class _Answer:
    """An answer as google-auth wants it."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data


class Sender(Request):
    """google-auth's transport. What fails leaves it as the contract's error, which google-auth lets pass.

    Args:
        env: Whose network dials.
        machine: The machine's own metadata service may be asked.
    """

    def __init__(self, env: ConnectorEnv, *, machine: bool) -> None:
        self._pools = policed_pools(env.network, connections=1)
        self._hosts = _metadata_hosts() if machine else frozenset()
        self._metadata = policed_pools(env.network.only(self._hosts), connections=1) if machine else None

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> _Answer:
        """Send one request, once.

        Raises:
            DeliveryError: No answer, or one that asks to come back later.
        """
        metadata = self._metadata if urlsplit(url).hostname in self._hosts else None
        try:
            if metadata is not None:
                answer, data = exchange(metadata, method, url, body, headers or {}, **_SOON)
            else:
                answer, data = exchange(self._pools, method, url, body, headers or {}, read=timeout)
        except Exception as error:
            if metadata is not None:
                text = "there are no credentials: no option, no file, and no metadata service answers"
                raise DeliveryError(K.CONFIG, text, hint=NONE) from None
            raise classify(error, DOING) from None
        told = {str(name).lower(): str(value) for name, value in answer.headers.items()}
        if answer.status == 429 or answer.status >= 500:
            kind = K.THROTTLED if answer.status == 429 else K.TRANSIENT
            text = f"could not {DOING}: HTTP {answer.status}"
            raise DeliveryError(kind, text, retry_after=stated_delay(told), code=answer.status)
        return _Answer(answer.status, told, data)

    def close(self) -> None:
        """Close the connections."""
        self._pools.clear()
        if self._metadata is not None:
            self._metadata.clear()


class Tokens:
    """The access token of one account; safe for many threads.

    Args:
        options: The destination's.
        env: Whose network dials.
    """

    def __init__(self, options: GcsOptions, env: ConnectorEnv) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._sender = Sender(env, machine=options.credentials is None)
        self._credentials: Any = None
        self._refused: str | None = None

    def token(self) -> str:
        """A token that lives for some minutes yet.

        Raises:
            DeliveryError: AUTH_REVOKED, CONFIG: a person has to act; else what the request met.
        """
        with self._lock, guarded(DOING, _translated):
            if self._credentials is None:
                self._credentials = _credentials(self._options, self._sender)
            held = self._credentials
            if held.token is None or held.token == self._refused or held.token_state is not TokenState.FRESH:
                held.refresh(self._sender)
            if not isinstance(held.token, str) or held.token == self._refused:
                raise DeliveryError(K.AUTH_REVOKED, "Google hands out a token that it refuses", hint=KEY)
            return str(held.token)

    def refuse(self, token: str) -> None:
        """The service does not take this one: the next is another."""
        with self._lock:
            self._refused = token

    def close(self) -> None:
        """Close the connections."""
        self._sender.close()


def _credentials(options: GcsOptions, sender: Sender) -> Any:
    """The account: of the key, else the machine's own (https://google.aip.dev/auth/4110).

    google.auth.default would do, but asks the metadata service for a sign of life three times first, and
    runs gcloud to learn a project that nobody needs here.
    """
    if options.credentials is not None:
        info = json.loads(options.credentials.get_secret_value())
        if info["type"] == "service_account":
            return _KEYS.from_service_account_info(info, scopes=[SCOPE])
        return _USERS.from_authorized_user_info(info)
    named = os.environ.get(environment_vars.CREDENTIALS)
    file = named or _FILES.get_application_default_credentials_path()
    if named or Path(file).is_file():
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            # The warning is about files of unknown origin; this one is the operator's.
            return _FROM_FILE(file, scopes=[SCOPE], request=sender)[0]
    return _MACHINES(scopes=[SCOPE])


def _translated(error: Exception, doing: str) -> DeliveryError:
    """What google-auth says, without its objects: they hold requests and answers."""
    if isinstance(error, RefreshError):
        told = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], Mapping) else {}
        code = str(told.get("error") or "")[:64]
        said = str(told.get("error_description") or "").strip()[:200]
        why = f"{code} ({said})" if said and "://" not in said else code or "the login was refused"
        return DeliveryError(K.AUTH_REVOKED, f"could not {doing}: {why}", hint=KEY, code=code or None)
    if isinstance(error, GoogleAuthError | ValueError | OSError | KeyError | TypeError):
        text = f"could not {doing}: the credentials cannot be used ({type(error).__name__})"
        return DeliveryError(K.CONFIG, text, hint=NONE, code=type(error).__name__)
    return classify(error, doing)


def _metadata_hosts() -> frozenset[str]:
    """The service's names and address, and what this machine's environment calls it."""
    names = (
        environment_vars.GCE_METADATA_HOST,
        environment_vars.GCE_METADATA_ROOT,
        environment_vars.GCE_METADATA_IP,
    )
    told = (urlsplit(f"//{os.environ.get(name, '')}").hostname for name in names)
    return frozenset((*METADATA_HOSTS, *(host for host in told if host)))
