"""Dropbox API v2, as far as a file uploader meets it: :class:`DropboxStandIn`.

Held to the vendor's own description, the Stone specification as it is compiled into the package ``dropbox``
(:mod:`servers.standins.dropbox.described`): each argument is decoded by its validator, strictly, and each
result and error is encoded by its own, so that no answer can be malformed. What could not be encoded stands
in ``defects``, which the fixtures assert to be empty.

Rules beyond it, with their source:

* request styles, headers, content types and the errors 400, 401, 409, 422, 429:
  https://www.dropbox.com/developers/documentation/http/documentation (Request and response formats, Errors);
* upload ≤ 150 MiB a request, sessions of seven days and 2^41 - 2^22 bytes, offsets, closed and concurrent
  sessions, batches of closed sessions, a commit that failed keeps its data in a session, write modes, strict
  conflicts: documentation of the routes and types in files.stone;
* the same bytes at the same path are not written again, and keep their times: files.stone, WriteMode (c), and
  rclone's SetModTime (backend/dropbox);
* scopes: each call's documentation, as the SDK repeats it; a refresh token only for
  ``token_access_type=offline``, four hours of an access token, PKCE without a secret, a code that is shown
  where no redirect was asked for: https://developers.dropbox.com/oauth-guide;
* ``invalid_client: Invalid client_id or client_secret`` with 400: what clients in the wild look for;
* write contention in one namespace: https://developers.dropbox.com/error-handling-guide (429,
  ``too_many_write_operations``); the answer as in https://github.com/dropbox/dropbox-sdk-go-unofficial/issues/33;
* roots: https://www.dropbox.com/developers/reference/path-root-header-modes; the folder of an application:
  oauth-guide, Content access.

Calls (the names are those of faults): ``upload``, ``session_start``, ``session_start_batch``,
``session_append`` (v2), ``session_finish``, ``session_finish_batch`` (v2), ``get_metadata``, ``list_folder``,
``list_folder_continue``, ``create_folder`` (v2), ``delete`` (v2), ``download``, ``get_current_account``,
``get_space_usage``, ``check_user``, ``token_revoke``; and ``token``.

To be set, each back by :meth:`reset`:

* ``quota``; ``upload_limit``, ``max_file``, ``session_life``, ``page`` of a listing; ``now``;
* ``commits_at_once`` in one namespace (None: any number), ``commit_time`` (seconds that each takes),
  ``contention_in`` (``"answer"``: 429; ``"error"``: inside the call's own 409), ``retry_after`` of the 429;
* ``after_commit``: what a session that has become a file answers, ``not_found`` or ``closed``;
  ``closed_before_offset``: which of two errors an append tells. The vendor's pages leave both open;
* ``app_folder`` (``"Apps/Conveyor"``: the application is of the type that sees its folder alone, as its root;
  None: the whole Dropbox); ``namespaces`` that the user may enter; ``root_namespace`` of a team;
* ``suspended``; ``refused_tokens``; ``rules.redirects`` (registered ones, to the letter).

How the SDK gets here: it has https built in. Either override ``_get_route_url(hostname, route_name)`` of
``dropbox.Dropbox`` to return ``f"{url}/2/{route_name}"``; or, for an SDK that nobody has changed, mount an
adapter for ``https://`` on its session that sends to this address (:mod:`servers.standins.dropbox.client`),
which moves its sign-in, too; or serve TLS and set DROPBOX_API_HOST and DROPBOX_API_CONTENT_HOST
(``host:port``) before it is imported.

Not enforced: shared folders and team quotas, ``mute``, property groups, media info, restore and revisions,
longpoll, append_batch, start by a temporary upload link, moves and copies, range and conditional downloads by
GET, the ``authorization`` URL parameter and unknown ones, ``Dropbox-API-Select-User``, a refreshed token of
fewer scopes, limits of calls and of monthly traffic other than the contention above, and the spelling that
Dropbox shows after a change of case.
"""

from __future__ import annotations

from servers.standins.dropbox.browsing import Browsing
from servers.standins.dropbox.described import rate_limited
from servers.standins.dropbox.sign_in import DropboxRules
from servers.standins.dropbox.uploads import Uploads

__all__ = ["DropboxRules", "DropboxStandIn", "rate_limited"]


class DropboxStandIn(Uploads, Browsing):
    """The service: www.dropbox.com, api.dropboxapi.com and content.dropboxapi.com at one address."""
