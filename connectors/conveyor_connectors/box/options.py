"""What a destination of type ``box`` can be told. Imports no SDK."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator

from conveyor.config.options import EndpointUrl, Size
from conveyor.contract import OAuthOptions

SESSION_FLOOR = 20_000_000
"""Bytes from which Box takes an upload session (https://developer.box.com/guides/uploads/chunked/)."""


def _number(value: str) -> str:
    if not (value.isascii() and value.isdigit()):
        raise ValueError(
            "is the number at the end of the folder's address: https://app.box.com/folder/NUMBER"
        )
    return value


def _user(value: str) -> str:
    if not (value.isascii() and value.isdigit()):
        raise ValueError("is a number, as Box's admin console shows it")
    return value


def _app_config(value: SecretStr) -> SecretStr:
    """The JSON file of the developer console; nothing of it may stand in an error."""
    try:
        config = json.loads(value.get_secret_value())
        app, key = config["boxAppSettings"], config["boxAppSettings"]["appAuth"]
        known: tuple[object, ...] = (
            app["clientID"],
            app["clientSecret"],
            key["publicKeyID"],
            key["privateKey"],
        )
    except (ValueError, KeyError, TypeError):
        known = ()
    if not known or not all(isinstance(each, str) and each for each in known):
        raise ValueError("is the JSON file that Box's developer console makes with a key: !file box.json")
    return value


def _names_enterprise(value: SecretStr) -> bool:
    return bool(json.loads(value.get_secret_value()).get("enterpriseID"))


class BoxOptions(OAuthOptions):
    """A folder of a Box account."""

    folder_id: Annotated[str, AfterValidator(_number)] = Field(
        "0",
        description="The folder: the number at the end of its address in the browser. 0 is the account's top "
        "folder. The rendered path lies below it.",
    )
    enterprise_id: Annotated[str, AfterValidator(_user)] | None = Field(
        None,
        description="Sign in without a person, as the application's own account: the enterprise's id. Needs "
        "client_id and client_secret of an application with client credentials.",
    )
    user_id: Annotated[str, AfterValidator(_user)] | None = Field(
        None, description="Sign in without a person, as this user of the enterprise."
    )
    jwt_config: Annotated[SecretStr, AfterValidator(_app_config)] | None = Field(
        None,
        description="Sign in without a person, by a key pair: the JSON file of the developer console, "
        "`!file secrets/box.json`. It holds client id and secret.",
    )
    as_user: Annotated[str, AfterValidator(_user)] | None = Field(
        None,
        description="Act as this user of the enterprise, which the application must be allowed to.",
    )
    direct_limit: Size = Field(
        SESSION_FLOOR,
        ge=1,
        le=50_000_000,
        description="Files below this go in one request, larger ones in parts that another worker can "
        "continue. Box takes parts from 20 MB on.",
    )
    api_url: EndpointUrl = Field(
        "https://api.box.com", description="Another address of Box's API, without the version."
    )
    upload_url: EndpointUrl = Field(
        "https://upload.box.com/api", description="Another address for uploads, without the version."
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> BoxOptions:
        if self.enterprise_id is not None and self.user_id is not None:
            raise ValueError("give enterprise_id or user_id, not both")
        if self.jwt_config is not None and self.subject is None and not _names_enterprise(self.jwt_config):
            raise ValueError("jwt_config names no enterprise: give enterprise_id or user_id")
        if self.jwt_config is not None and self.refresh_token is not None:
            raise ValueError("jwt_config signs in without a refresh_token: remove one of them")
        if self.subject is not None and self.jwt_config is None:
            missing = [name for name in ("client_id", "client_secret") if getattr(self, name) is None]
            if missing:
                raise ValueError(f"signing in by enterprise_id or user_id needs {' and '.join(missing)}")
        return self

    @property
    def subject(self) -> tuple[str, str] | None:
        """Whom to sign in without a person: ``("enterprise", id)`` or ``("user", id)``."""
        if self.enterprise_id is not None:
            return "enterprise", self.enterprise_id
        return ("user", self.user_id) if self.user_id is not None else None
