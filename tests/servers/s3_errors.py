"""One instance of every exception class that boto3 and what lies under it can raise."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterator
from types import ModuleType
from typing import Any


def classes(*modules: ModuleType) -> set[type[Exception]]:
    """Every exception class of these modules; warnings are none."""
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Exception) and not issubclass(value, Warning)
    }
    return {
        one for one in found if one.__module__.split(".")[0] in ("botocore", "boto3", "s3transfer", "urllib3")
    }


def make(kind: type[Exception]) -> Exception:
    """An instance, whatever its constructor wants."""
    import botocore.exceptions as sdk

    if issubclass(kind, sdk.ClientError):
        return kind({"Error": {"Code": "InternalError"}, "ResponseMetadata": {"HTTPStatusCode": 500}}, "Op")
    for arguments in ((), ("x",), ("x", "y"), ("x", "y", "z"), ("a", "b", "c", "d")):
        try:
            return kind(*arguments)
        except (TypeError, AttributeError, KeyError, IndexError):
            continue
    if issubclass(kind, sdk.BotoCoreError):
        return kind(**defaultdict(str, _fields(kind)))
    made = kind.__new__(kind)
    made.args = ("x",)
    return made


def _fields(kind: Any) -> dict[str, str]:
    import string

    return {name: name for _, name, _, _ in string.Formatter().parse(kind.fmt) if name}


def sdk_exceptions() -> Iterator[Exception]:
    """An instance of each."""
    import boto3.exceptions
    import botocore.exceptions
    import urllib3.exceptions

    for kind in sorted(classes(boto3.exceptions, botocore.exceptions, urllib3.exceptions), key=repr):
        made = make(kind)
        assert type(made) is kind, kind
        yield made
