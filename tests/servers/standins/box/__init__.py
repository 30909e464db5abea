"""Box API 2.0, as far as a file uploader meets it: :class:`BoxStandIn`.

Requests and answers are held to Box's OpenAPI description (:mod:`.description`: path, method, parameters,
required headers, fields and their types; ``openapi.json``). Each rule beyond it cites its source where it
stands:

* :mod:`.errors` the JSON of errors, and which status a code has;
* :mod:`.items` names (unique by folder whatever the case), conflicts, trash, quota, times in whole seconds;
* :mod:`.files` upload in one request (``attributes`` before ``file``, ``content-md5`` with a SHA-1,
  If-Match), checks before an upload, download by 302, rename, move, delete, bring back;
* :mod:`.folders` folders, listing by offset or marker, ``/users/me``;
* :mod:`.chunked` and :mod:`.sessions` upload sessions;
* :mod:`.sign_in` tokens.

Addresses: ``/2.0`` is api.box.com, ``/api/2.0`` upload.box.com, ``/dc7/api/2.0`` the host that a session's
own addresses name, ``/api/oauth2/authorize`` account.box.com, ``/dl`` dl.boxcloud.com. The SDK comes by
``BaseUrls(base_url=url, upload_url=url + "/api", oauth_2_url=url + "/api/oauth2")``.

To be set on the class or the object (:meth:`~.service.BoxService.reset` brings the class's back):

* ``quota``, ``max_upload_size`` (403), ``direct_limit`` (413 for one request; None: as Box, which only
  recommends 50 MB), ``chunked_floor``, ``part_size``, ``session_life``, ``listed_to``
  (the last offset at which parts are listed);
* ``file_conflicts`` and ``folder_conflicts``: ``object`` or ``list``, the form of ``context_info.conflicts``.
  The description has a list; rclone's backend/box decodes one object for files;
* ``reserve_names``: a second upload of a name while the first runs is 409 name_temporarily_reserved;
* ``put_off`` and ``mismatches``: so many commits of each session answer 202 with ``retry_after``, and before
  these 400 parts_mismatch; ``commit_again``: a second commit gives the file again in place of 404;
* ``only_server_urls``: a session is known at the addresses that it named, and nowhere else;
* ``trash_enabled``; ``calls_per_minute`` and ``uploads_per_minute`` (None: no limit; Box has 1000 and 240);
* on the object: ``blocked`` and ``read_only`` (ids of folders: 409 operation_blocked_temporary, 403),
  ``broken`` (ids of sessions: 410 upload_failed),
  ``tree.reserved`` (folder id and :func:`~.items.key` of a name), ``rules`` (:class:`~.sign_in.BoxRules`),
  ``now``.

``defects`` lists answers of the stand-in that its description did not allow; a test asserts that it is empty.

Not enforced:

* what the account may do by collaboration, shared links, Shield policies, locks, retention, web links;
* accounts of their own: the person and the application's account see one tree;
* which scopes an application was given in the developer console beyond read and write;
* ``Range`` at a download (the whole file comes), thumbnails and other representations;
* ``as-user``, ``boxapi`` and ``x-rep-hints`` headers; shared links, tags and collections in a PUT;
* 411 for a body without Content-Length; a delay between an upload and its file in a listing;
* emptying the trash by ``/trash`` addresses; asynchronous moves of large folders (503 after 600 s).
"""

from __future__ import annotations

from servers.standins.box.chunked import Chunked
from servers.standins.box.service import BoxService
from servers.standins.box.sign_in import BoxRules

__all__ = ["BoxRules", "BoxService", "BoxStandIn"]


class BoxStandIn(Chunked):
    """The whole service."""
