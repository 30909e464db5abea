"""Amazon S3 and compatible object stores, through boto3.

The package's modules keep the SDK behind :mod:`.connector`: :mod:`.options` is imported whenever a
destination of this type is configured and must stay free of it.
"""
