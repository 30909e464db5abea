"""Plain HTTP for the observers of real accounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

BUSY = (429, 502, 503, 504)


class Http:
    """Requests that wait where the service asks them to.

    Args:
        token: Goes with each as a bearer token.
        params: Go with each.
        auth: A login in place of a token.
        ca_bundle: Authorities to trust in place of the usual.
    """

    def __init__(
        self,
        token: str | None = None,
        *,
        params: Mapping[str, str] | None = None,
        auth: Any = None,
        ca_bundle: str | None = None,
    ) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = auth
        self._session.verify = ca_bundle or True
        self._session.params = dict(params or {})
        retry = Retry(total=6, backoff_factor=0.5, status_forcelist=BUSY, allowed_methods=None)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, url: str, **more: Any) -> requests.Response:
        """The answer, a success.

        Raises:
            requests.HTTPError: With the address and what the service says.
        """
        answer = self._session.request(method, url, timeout=120, **more)
        if not answer.ok:
            told = f"{method} {url}: {answer.status_code} {answer.text[:300]}"
            raise requests.HTTPError(told, response=answer)
        return answer

    def find(self, method: str, url: str, *, absent: int = 404, **more: Any) -> requests.Response | None:
        """The same; None where the answer is that there is nothing."""
        try:
            return self.ask(method, url, **more)
        except requests.HTTPError as error:
            if error.response is not None and error.response.status_code == absent:
                return None
            raise

    def json(self, method: str, url: str, **more: Any) -> Any:
        """The answer's document."""
        return self.ask(method, url, **more).json()

    def close(self) -> None:
        """Close its connections."""
        self._session.close()
