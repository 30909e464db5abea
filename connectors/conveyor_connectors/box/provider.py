"""Signing in at Box."""

from conveyor.contract import AccountQuestion, OAuthProvider, Rotation, Trouble

DAY = 86_400.0

PROVIDER = OAuthProvider(
    name="box",
    title="Box",
    authorize_url="https://account.box.com/api/oauth2/authorize",
    token_url="https://api.box.com/oauth2/token",  # noqa: S106
    revoke_url="https://api.box.com/oauth2/revoke",
    account=AccountQuestion("https://api.box.com/2.0/users/me", id="id", name=("login", "name")),
    # What the application may do is chosen in its settings; Box has no PKCE and no device flow
    # (https://developer.box.com/reference/post-oauth2-token/).
    scopes=(),
    pkce=False,
    secret=True,
    redirect_exact=True,  # redirect_uri_mismatch otherwise
    # Single use, 60 days (https://developer.box.com/guides/authentication/tokens/refresh/). That the old one
    # lives until the new access token is used is a report of Kloudless, not a promise of Box.
    rotation=Rotation.UNTIL_USED,
    renew_after=0.5,
    renew_idle=7 * DAY,
    login_lasts=60 * DAY,
    errors={
        # An administrator has to authorize the application first
        # (https://developer.box.com/guides/authorization/custom-app-approval/).
        "unauthorized_client": Trouble.CONSENT,
        "exp": Trouble.CLOCK,
    },
    unattended="conveyor_connectors.box.unattended:form",
)
