"""Digests by name: hashlib's, ``quickxor`` (OneDrive, SharePoint) and ``dropbox`` (``content_hash``).

A connector that names one in ``Capabilities.digests`` finds it in ``parcel.digests``, in hex.
"""

from conveyor.hashing import DropboxContent, Hasher, QuickXor, new_hasher

__all__ = ["DropboxContent", "Hasher", "QuickXor", "new_hasher"]
