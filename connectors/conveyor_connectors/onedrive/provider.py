"""Signing in at Microsoft."""

from conveyor.contract import AccountQuestion, OAuthProvider, Rotation, Trouble

DAY = 86_400.0
LOGIN = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0"

PROVIDER = OAuthProvider(
    name="microsoft",
    title="Microsoft",
    authorize_url=f"{LOGIN}/authorize",
    token_url=f"{LOGIN}/token",
    device_url=f"{LOGIN}/devicecode",
    account=AccountQuestion(
        "https://graph.microsoft.com/v1.0/me", name=("userPrincipalName", "mail", "displayName")
    ),
    scopes=("Files.ReadWrite", "User.Read", "offline_access"),
    pkce=True,
    secret=False,
    # The old one stays valid: https://learn.microsoft.com/entra/identity-platform/refresh-tokens (90 days).
    rotation=Rotation.REPLACED,
    login_lasts=90 * DAY,
    # Entra compares the path of a loopback redirect, not its port, and wants the word localhost:
    # https://learn.microsoft.com/entra/identity-platform/reply-url
    redirect_host="localhost",
    errors={
        # https://learn.microsoft.com/entra/identity-platform/reference-error-codes
        "AADSTS65001": Trouble.CONSENT,
        "AADSTS90094": Trouble.CONSENT,
        "AADSTS50034": Trouble.REVOKED,
        "AADSTS50057": Trouble.REVOKED,
        "AADSTS70008": Trouble.REVOKED,
        "AADSTS700024": Trouble.CLOCK,
        "AADSTS7000215": Trouble.CLIENT,
        "AADSTS7000222": Trouble.CLIENT,
        "AADSTS700016": Trouble.CLIENT,
        "AADSTS90033": Trouble.TRANSIENT,
    },
    unattended="conveyor_connectors.onedrive.unattended:form",
)
