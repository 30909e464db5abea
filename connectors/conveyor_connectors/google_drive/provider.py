"""Signing in at Google."""

from conveyor.contract import AccountQuestion, OAuthProvider, Rotation, Trouble

DAY = 86_400.0
FILE = "https://www.googleapis.com/auth/drive.file"
DRIVE = "https://www.googleapis.com/auth/drive"

PROVIDER = OAuthProvider(
    name="google",
    title="Google",
    authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
    token_url="https://oauth2.googleapis.com/token",  # noqa: S106
    device_url="https://oauth2.googleapis.com/device/code",
    revoke_url="https://oauth2.googleapis.com/revoke",
    account=AccountQuestion(
        "https://www.googleapis.com/drive/v3/about?fields=user",
        id="user.permissionId",
        name=("user.emailAddress", "user.displayName"),
    ),
    # Sees nothing but what the application itself has made; needs no review by Google
    # (https://developers.google.com/workspace/drive/api/guides/api-specific-auth).
    scopes=(FILE,),
    pkce=True,
    # Applications of the type "Desktop app" have one, which is no secret
    # (https://developers.google.com/identity/protocols/oauth2/native-app).
    secret=True,
    authorize_params={"access_type": "offline", "prompt": "consent"},
    rotation=Rotation.KEPT,
    login_lasts=180 * DAY,
    errors={
        "admin_policy_enforced": Trouble.CONSENT,
        "org_internal": Trouble.CONSENT,
        "deleted_client": Trouble.CLIENT,
    },
    unattended="conveyor_connectors.google_drive.unattended:form",
)
