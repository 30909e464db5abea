"""Folders of Dropbox, through the package ``dropbox``.

The SDK is kept behind :mod:`.client` and :mod:`.errors`. Used of it are its routes with their validators, its
headers and its typed errors. Not used are its sign-in, which renews once in every thread, and its retries,
which wait for ever when Dropbox asks to slow down. It takes bytes alone as the body of an upload, a whole
chunk in memory: :class:`.client.Wire` sends a stream in their place.
"""
