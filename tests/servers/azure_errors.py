"""One instance of every exception class that azure-storage-blob and what lies under it can raise."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

OWNERS = ("azure", "requests", "urllib3")


def classes(*modules: ModuleType) -> set[type[Exception]]:
    """Every exception class of these modules; warnings are none."""
    return {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Exception)
        and not issubclass(value, Warning)
        and value.__module__.split(".")[0] in OWNERS
    }


def modules() -> tuple[ModuleType, ...]:
    """Where the SDK and its HTTP layers keep their exceptions."""
    import azure.core.exceptions
    import azure.storage.blob
    import azure.storage.blob._shared.authentication
    import requests.exceptions
    import urllib3.exceptions

    return (
        azure.core.exceptions,
        azure.storage.blob,
        azure.storage.blob._shared.authentication,
        requests.exceptions,
        urllib3.exceptions,
    )


def make(kind: type[Exception]) -> Exception:
    """An instance, whatever its constructor wants."""
    for arguments in ((), ("x",), ("x", "y"), ("x", "y", "z"), ("a", "b", "c", "d")):
        try:
            return kind(*arguments)
        except (TypeError, AttributeError, KeyError, IndexError):
            continue
    made = kind.__new__(kind)
    made.args = ("x",)
    return made


def sdk_exceptions() -> Iterator[Exception]:
    """An instance of each."""
    for kind in sorted(classes(*modules()), key=repr):
        made = make(kind)
        assert type(made) is kind, kind
        yield made


def answer(status: int, code: str = "", message: str = "", headers: dict[str, str] | None = None) -> Any:
    """What the SDK raises for an answer of the service."""
    from azure.core.exceptions import HttpResponseError
    from requests.structures import CaseInsensitiveDict

    response: Any = SimpleNamespace(status_code=status, reason="", headers=CaseInsensitiveDict(headers or {}))
    error = HttpResponseError(message=f"{message}\nRequestId:1\nErrorCode:{code}", response=response)
    error.error_code = code or None  # type: ignore[attr-defined]
    return error
