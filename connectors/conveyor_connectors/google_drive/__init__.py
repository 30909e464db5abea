"""Folders of Google Drive, through google-api-python-client.

The SDK is kept behind :mod:`.client` and :mod:`.errors`. Used of it are its methods, made from the packaged
description of the API, their parameters, bodies and error type. Not used are httplib2, which dials past the
network policy, is not safe for threads and sends a request again when a connection breaks, and
``next_chunk``, whose retries send a chunk without rewinding it: the upload protocol is spoken by
:mod:`.sessions`. Of google-auth the signing of service accounts' assertions is used (:mod:`.unattended`).
"""
