"""Containers of Azure Blob Storage, through azure-storage-blob.

The package's modules keep the SDK behind :mod:`.connector`: :mod:`.options` is imported whenever a
destination of this type is configured and must stay free of it.

Of the SDK its requests, signatures, models and errors are used. Its ``upload_blob`` loop is not: it reads
whole files into memory and cannot be continued by another worker, so blocks are staged by a loop of our own.
"""
