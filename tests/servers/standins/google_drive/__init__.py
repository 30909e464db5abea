"""A stand-in for Google Drive v3, held to the vendor's own description; each module cites its sources.

Addresses: ``facts()["url"]`` is www.googleapis.com, oauth2.googleapis.com and accounts.google.com at once
(``/token``, ``/revoke``, ``/device/code``, ``/o/oauth2/v2/auth``). The SDK is pointed at it by the rootUrl
and baseUrl of its description, since uploads take their address from there::

    described = {**document(), "rootUrl": url + "/", "baseUrl": url + "/drive/v3/"}
    service = build_from_document(described, credentials=Credentials(token))

Attributes that tests may set, of the class or of an instance; ``reset()`` undoes them:

* ``lag``, ``quota``, ``folder_items``, ``drive_items``, ``depth``, ``folds_case``, ``service_accounts``,
  ``read_only``: see :class:`~servers.standins.google_drive.state.State`;
* ``unit`` (bytes, 256 KiB), ``small`` (most bytes of one request, 5 MiB), ``largest`` (of a file, 5 TiB),
  ``session_life`` (seconds);
* ``lenient_units``: a chunk that is no multiple of ``unit`` is cut to whole units, as the real service does,
  in place of 400; ``short``: so many units of each chunk but the last get lost ("Do not assume that the
  server received all bytes sent in the previous request"); ``gone``: status of what a cancelled session is
  asked;
* ``now``: the clock, also of tokens; ``rules``: :class:`~servers.standins.google_drive.sign_in.GoogleRules`.

``add_drive(name)`` makes a shared drive. ``said(reason)`` is a documented error as an answer and
``failing(route, reason)`` as a fault; reasons are the keys of ``DOCUMENTED``. Routes by name: ``about``,
``generate_ids``, ``list``, ``create``, ``get``, ``update``, ``delete``, ``upload``, ``upload_again``,
``chunk``, ``cancel``, ``delete_revision``. ``defects`` lists the stand-in's own mistakes: answers that break
the description, exceptions in routes, query terms it does not know; the fixture asserts that it is empty.

Not enforced: sharing and permissions but ``read_only``, shortcuts, comments, watching, changes, exports and
conversions, downloads of old revisions and their end, trash that empties itself after 30 days, virus scans,
the cost of requests per minute and the 750 GB a day (throttling is by faults), tokens that die after six
months or in "Testing", consent to a part of the scopes, batch requests, compression, ``Range`` of downloads,
``access_token`` as a parameter, changes that lag in lists.
"""

from __future__ import annotations

from servers.standins.google_drive.errors import DOCUMENTED, failing, said
from servers.standins.google_drive.sign_in import PREFIX
from servers.standins.google_drive.uploads import Uploads

__all__ = ["DOCUMENTED", "PREFIX", "GoogleDrive", "failing", "said"]


class GoogleDrive(Uploads):
    """Drive."""
