"""A stand-in for OneDrive and SharePoint: Graph v1.0's drives, and Microsoft's identity platform.

Sources (learn.microsoft.com unless said): graph/api/driveitem-{createuploadsession, put-content, get-content,
list-children, post-children, update, delete}, graph/api/resources/driveitem,
graph/onedrive-addressing-driveitems, onedrive/developer/rest-api/concepts/errors (codes, nested innererror),
onedrive/developer/code-snippets/quickxorhash, entra/identity-platform/{v2-oauth2-auth-code-flow,
v2-oauth2-device-code, v2-oauth2-client-creds-grant-flow, certificate-credentials, reference-error-codes};
OneDrive/onedrive-api-docs#747 (a session holds its name), rclone's docs on onedrive (Office files).

Chosen where the pages say nothing: 416 and the inner code for a fragment out of order, 400 with
``uploadSessionFailed`` for fragments that are no multiple of 320 KiB, 413 for one that is too large.

Not enforced: throttling by load; a raw ``#`` in a path (it ends the path, so the request hits another route);
the recycle bin; versions; scanning, retention and other policies; the signature of id tokens; consent pages;
``$expand``, ``$filter``, ``$orderby`` (refused); copies, search, delta, sharing; moves between drives
or by path (refused);
partial downloads; that a download address refuses a token (no page says so).
"""

from servers.standins.onedrive.service import OneDrive

__all__ = ["OneDrive"]
