"""Microsoft's identity platform, v2.0 (learn.microsoft.com/entra/identity-platform, v2-oauth2-*)."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from conveyor.contract import Rotation
from servers.oauth_rules import CLIENT, Family, No, Rules
from servers.standins.kit import StandIn
from servers.standins.messages import Answer, Request

TENANTS = ("common", "organizations", "consumers")
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_CODES = {
    "unknown or expired code": 70008,
    "the code was used before": 54005,
    "another redirect_uri": 500112,
    "the verifier does not fit": 501481,
    "the refresh token is invalid or was used": 70000,
    "authorization_pending": 70016,
    "expired_token": 70020,
    "access_denied": 65004,
    "slow_down": 70021,
    "unsupported_grant_type": 70003,
}


def sts(error: str, code: int, message: str, status: int = 400, suberror: str | None = None) -> No:
    """An error of the token service (entra/identity-platform/reference-error-codes)."""
    no, trace = No(error, status=status), str(uuid.uuid4())
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    no.document = {
        "error": error, "error_codes": [code], "timestamp": now, "trace_id": trace, "correlation_id": trace,
        "error_description": f"AADSTS{code}: {message} Trace ID: {trace} Timestamp: {now}",
        "error_uri": f"https://login.microsoftonline.com/error?code={code}",
    }  # fmt: skip
    if suberror is not None:
        no.document["suberror"] = suberror
    return no


def _encoded(document: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


class SignIn(StandIn):
    """Authorize, token, devicecode and discovery below each tenant.

    Attributes:
        consented: False: the account has not agreed (AADSTS65001).
        account_exists: False: the account is gone (AADSTS50034).
        app_certificate: PEM of the certificate that the application has registered.
    """

    tenant: ClassVar[str] = "11111111-2222-3333-4444-555555555555"
    token_path = f"/{tenant}/oauth2/v2.0/token"
    authorize_path = f"/{tenant}/oauth2/v2.0/authorize"
    scopes = ("Files.ReadWrite", "User.Read", "offline_access")
    app_roles: ClassVar[str] = "Sites.ReadWrite.All"
    """What ``.default`` gives to the application itself."""

    def __init__(self, *, rules: Rules | None = None, **options: Any) -> None:
        super().__init__(
            rules=rules or Rules(rotation=Rotation.REPLACED, clock=lambda: self.now()), **options
        )
        self.consented = self.account_exists = True
        self.app_certificate: bytes | None = None
        self._nonces: dict[str, str | None] = {}

    def _find(self, method: str, path: str) -> tuple[str | None, dict[str, str]]:
        end = re.fullmatch(r"/[^/]+/oauth2/v2\.0/(token|authorize|devicecode)", path)
        return (end[1], {}) if end else super()._find(method, path)

    def serve_sign_in(self, request: Request) -> Answer | None:
        """The endpoints, and the two documents msal reads first."""
        if (request.method, request.path) == ("GET", "/common/discovery/instance"):
            document = {
                "tenant_discovery_endpoint": f"{self.url}/{self.tenant}/v2.0/.well-known/openid-configuration"
            }
            return Answer(200, {**document, "api-version": "1.1", "metadata": []})
        match = re.fullmatch(r"/([^/]+)/(?:oauth2/)?v2\.0/(.+)", request.path)
        if match is None:
            return None
        tenant, what = match.groups()
        if tenant not in (*TENANTS, self.tenant):
            raise sts("invalid_request", 90002, f"Tenant '{tenant}' not found.")
        match request.method, what:
            case "GET", ".well-known/openid-configuration":
                return Answer(200, self._discovery(tenant))
            case "GET", "authorize":
                return self._ask_to_agree(request)
            case "POST", "token":
                form = request.form()
                given = self._grant(form, self.url + request.path, tenant)
                return Answer(200, given, {"Cache-Control": "no-store"})
            case "POST", "devicecode":
                return self._begin_device(request.form())
        return None

    def _discovery(self, tenant: str) -> dict[str, Any]:
        base = f"{self.url}/{tenant}/oauth2/v2.0/"
        return {
            "issuer": f"{self.url}/{self.tenant}/v2.0", "authorization_endpoint": base + "authorize",
            "token_endpoint": base + "token", "device_authorization_endpoint": base + "devicecode",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code"], "scopes_supported": ["openid", "profile", "offline_access"],
        }  # fmt: skip

    def _ask_to_agree(self, request: Request) -> Answer:
        if not request.query.get("scope"):
            raise sts("invalid_request", 900144, "The request must contain the parameter 'scope'.")
        try:
            answer = self._authorize(request)
            code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
            self._nonces[code] = request.query.get("nonce")
            return answer
        except No as no:
            number = 700016 if no.document["error"] == "unauthorized_client" else 900144
            raise sts(no.document["error"], number, no.document["error_description"]) from None

    def _begin_device(self, form: Mapping[str, str]) -> Answer:
        self._check_client(form)
        begun = self.rules.begin_device(form, 1)
        return Answer(200, {**begun, "interval": 1, "message": f"Enter the code {begun['user_code']}."})

    def _check_client(self, form: Mapping[str, str]) -> None:
        if form.get("client_id") != CLIENT:
            raise sts("unauthorized_client", 700016, "The application was not found in the directory.")

    # --- the token endpoint ----------------------------------------------------------------------

    def _grant(self, form: Mapping[str, str], endpoint: str, tenant: str) -> dict[str, Any]:
        self._check_client(form)
        kind = form.get("grant_type", "")
        proved = self._prove(form, endpoint)
        with self.rules.lock:
            if kind == "client_credentials":
                return self._for_application(form, proved, tenant)
            if not self.account_exists:
                raise sts("invalid_grant", 50034, "The user account does not exist in the directory.")
            if not self.consented:
                raise sts("invalid_grant", 65001, "The user has not consented.", suberror="consent_required")
            given = self._for_person(form)
        return self._finish(given, form)

    def _for_person(self, form: Mapping[str, str]) -> dict[str, Any]:
        ways = {
            "authorization_code": self.rules._by_code,
            "refresh_token": self.rules._by_refresh,
            DEVICE: self.rules._by_device,
        }
        try:
            way = ways.get(form.get("grant_type", ""))
            if way is None:
                raise No("unsupported_grant_type")
            return way(form)
        except No as no:
            error, why = no.document["error"], no.document["error_description"]
            self.rules.refusals.append(error)
            if error == "access_denied":
                error = "authorization_declined"
            suberror = "bad_token" if form.get("grant_type") == "refresh_token" else None
            raise sts(
                error, _CODES.get(why or no.document["error"], 70000), why or error, suberror=suberror
            ) from None

    def _finish(self, given: dict[str, Any], form: Mapping[str, str]) -> dict[str, Any]:
        """Scopes decide what is given: offline_access a refresh token, openid who it is."""
        family = self.rules.access[given["access_token"]].family
        family.scopes = " ".join(scope.rpartition("/")[2] for scope in family.scopes.split())
        scopes = family.scopes.split()
        if "offline_access" not in scopes:
            self.rules.refresh.pop(given.pop("refresh_token", ""), None)
        shown = " ".join(s for s in scopes if s != "offline_access")
        given |= {"token_type": "Bearer", "expires_in": int(given["expires_in"]), "scope": shown}
        given["ext_expires_in"] = given["expires_in"]
        if form.get("client_info"):
            given["client_info"] = _encoded({"uid": "user-0001", "utid": self.tenant})
        if "openid" in scopes:
            now = int(self.now())
            claims = {
                "aud": CLIENT, "iss": f"{self.url}/{self.tenant}/v2.0", "iat": now, "exp": now + 3600,
                "sub": family.account, "oid": "user-0001", "tid": self.tenant,
                "preferred_username": f"{family.account}@example.org",
            }  # fmt: skip
            if (nonce := self._nonces.pop(form.get("code", ""), None)) is not None:
                claims["nonce"] = nonce
            given["id_token"] = f"{_encoded({'alg': 'none'})}.{_encoded(claims)}."
        return given

    def _for_application(self, form: Mapping[str, str], proved: bool, tenant: str) -> dict[str, Any]:
        if not proved:
            raise sts("invalid_client", 7000218, "client_assertion or client_secret is required.", 401)
        if tenant in TENANTS:
            raise sts("invalid_request", 900382, "Client credentials need the tenant itself.")
        if not form.get("scope", "").endswith("/.default"):
            raise sts("invalid_scope", 1002012, "Client credential flows must have a scope with /.default.")
        given = self.rules._issue(Family("the application", self.app_roles), None)
        life = int(given["expires_in"])
        return {
            "token_type": "Bearer",
            "expires_in": life,
            "ext_expires_in": life,
            "access_token": given["access_token"],
        }

    def _prove(self, form: Mapping[str, str], endpoint: str) -> bool:
        """Whether the client has shown who it is.

        Raises:
            No: It tried and failed.
        """
        if "client_assertion" in form:
            self._check_assertion(form, endpoint)
            return True
        if "client_secret" not in form:
            return False
        if form["client_secret"] != self.rules.secret:
            raise sts("invalid_client", 7000215, "Invalid client secret provided.", 401)
        return True

    def _check_assertion(self, form: Mapping[str, str], endpoint: str) -> None:
        """entra/identity-platform/certificate-credentials: PS256 or RS256, x5t, aud, iss = sub = client."""
        try:
            if form.get("client_assertion_type") != ASSERTION or self.app_certificate is None:
                raise ValueError("no certificate")
            certificate = x509.load_pem_x509_certificate(self.app_certificate)
            raw, header = (
                certificate.public_bytes(Encoding.DER),
                jwt.get_unverified_header(form["client_assertion"]),
            )
            prints = {
                name: base64.urlsafe_b64encode(digest(raw).digest()).decode().rstrip("=")
                for name, digest in (("x5t", hashlib.sha1), ("x5t#S256", hashlib.sha256))
            }
            if not any(header.get(name, "").rstrip("=") == value for name, value in prints.items()):
                raise ValueError("thumbprint")
            claims = jwt.decode(
                form["client_assertion"], certificate.public_key(), ["RS256", "PS256"],  # type: ignore[arg-type]
                audience=endpoint, options={"require": ["exp", "iss", "sub", "jti"]},
            )  # fmt: skip
            if claims["iss"] != CLIENT or claims["sub"] != CLIENT:
                raise ValueError("iss, sub")
        except (ValueError, jwt.PyJWTError) as problem:
            raise sts(
                "invalid_client", 700027, f"The client assertion is not valid: {problem}.", 401
            ) from None
