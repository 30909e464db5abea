"""Signing in at Dropbox."""

from conveyor.contract import AccountQuestion, OAuthProvider, Rotation

PROVIDER = OAuthProvider(
    name="dropbox",
    title="Dropbox",
    authorize_url="https://www.dropbox.com/oauth2/authorize",
    token_url="https://api.dropboxapi.com/oauth2/token",  # noqa: S106
    revoke_url="https://api.dropboxapi.com/2/auth/token/revoke",
    revoke_bearer=True,
    account=AccountQuestion(
        "https://api.dropboxapi.com/2/users/get_current_account",
        method="POST",
        body="null",
        id="account_id",
        name=("email", "name.display_name"),
    ),
    # Writing, looking after a lost answer, and the account's name.
    scopes=("files.content.write", "files.metadata.read", "account_info.read"),
    # A public application: PKCE in place of a secret; without "offline" there is no refresh token
    # (https://developers.dropbox.com/oauth-guide).
    pkce=True,
    secret=False,
    # Redirects are compared to the letter, and but for localhost they are https.
    redirect_host="localhost",
    redirect_exact=True,
    authorize_params={"token_access_type": "offline"},
    rotation=Rotation.KEPT,
)
