"""The destination type ``webdav``: Nextcloud, ownCloud and any WebDAV server (RFC 4918).

Of webdavclient3 the client's settings, its table of methods, its headers and its bearer token are used,
through :class:`~conveyor_connectors.webdav.client.DavClient`, which sends by ``requests``, too. Not used,
because each was measured or read to do harm:

* its own ``execute_request``: follows redirects (a redirected PUT becomes a GET and counts as success),
  drops the answer's headers and with them ``Retry-After``, leaves bodies unread (a new connection for each
  request);
* ``upload_*``, ``mkdir``, ``move``, ``check``, ``list``, ``info``: ask HEAD on a folder first, which Apache
  answers by 404 and nginx by 403, and ``mkdir`` prints to stdout;
* ``Urn``: collapses path segments made of dots;
* ``WebDavXmlUtils``: XML by lxml's defaults, and an answer that names another path is an error.
"""
