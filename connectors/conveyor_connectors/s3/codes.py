"""What the service's error codes and statuses mean to the engine.

Sources: Amazon's list of error responses (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)
and the codes that compatible stores were seen to send.
"""

from __future__ import annotations

from collections.abc import Mapping

from conveyor.contract import ErrorKind

LOGIN = "Check access_key and secret_key; the key may have been deleted or rotated."
PERMISSION = (
    "Allow s3:PutObject, s3:GetObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts on the prefix."
)
ROLE = "Check role_arn and external_id, and that the role trusts these credentials (sts:AssumeRole)."
REGION = "Set the bucket's own region{region}."
CLOCK = "This machine's clock is wrong: synchronise it (NTP)."

K = ErrorKind

CODES: Mapping[str, tuple[ErrorKind, str | None]] = {
    # passes by itself
    "InternalError": (K.TRANSIENT, None),
    "InternalServerError": (K.TRANSIENT, None),
    "OperationAborted": (K.TRANSIENT, None),
    "RequestTimeout": (K.TRANSIENT, None),
    "RequestTimeoutException": (K.TRANSIENT, None),
    "ServiceUnavailable": (K.TRANSIENT, None),
    "ConditionalRequestConflict": (K.TRANSIENT, None),
    "XMinioServerNotInitialized": (K.TRANSIENT, None),
    # asks to slow down
    "SlowDown": (K.THROTTLED, None),
    "SlowDownRead": (K.THROTTLED, None),
    "SlowDownWrite": (K.THROTTLED, None),
    "Throttling": (K.THROTTLED, None),
    "ThrottlingException": (K.THROTTLED, None),
    "RequestLimitExceeded": (K.THROTTLED, None),
    "TooManyRequests": (K.THROTTLED, None),
    "RequestThrottled": (K.THROTTLED, None),
    "BandwidthLimitExceeded": (K.THROTTLED, None),
    # the bytes differ
    "BadDigest": (K.INTEGRITY, None),
    "InvalidDigest": (K.INTEGRITY, None),
    "IncompleteBody": (K.INTEGRITY, None),
    "XAmzContentSHA256Mismatch": (K.INTEGRITY, None),
    "XAmzContentChecksumMismatch": (K.INTEGRITY, None),
    # the upload is gone
    "NoSuchUpload": (K.SESSION_LOST, None),
    "InvalidPart": (K.SESSION_LOST, None),
    "InvalidPartOrder": (K.SESSION_LOST, None),
    # the login
    "ExpiredToken": (K.AUTH_EXPIRED, None),
    "ExpiredTokenException": (K.AUTH_EXPIRED, None),
    "TokenRefreshRequired": (K.AUTH_EXPIRED, None),
    "InvalidAccessKeyId": (K.AUTH_REVOKED, LOGIN),
    "SignatureDoesNotMatch": (K.AUTH_REVOKED, LOGIN),
    "InvalidToken": (K.AUTH_REVOKED, "Check session_token."),
    "InvalidClientTokenId": (K.AUTH_REVOKED, LOGIN),
    "UnrecognizedClientException": (K.AUTH_REVOKED, LOGIN),
    "InvalidSecurity": (K.AUTH_REVOKED, LOGIN),
    "AccountProblem": (K.AUTH_REVOKED, "The store has a problem with the account: ask its operator."),
    "NotSignedUp": (K.AUTH_REVOKED, "The account is not signed up for S3."),
    "Unauthorized": (K.AUTH_REVOKED, LOGIN),
    # full
    "QuotaExceeded": (K.QUOTA, "Free space in the bucket or raise its quota."),
    "QuotaExceededException": (K.QUOTA, "Free space in the bucket or raise its quota."),
    "XMinioAdminBucketQuotaExceeded": (K.QUOTA, "Free space in the bucket or raise its quota."),
    "XMinioStorageFull": (K.QUOTA, "The store's disks are full."),
    "StorageFull": (K.QUOTA, "The store's disks are full."),
    "InsufficientStorage": (K.QUOTA, "The store's disks are full."),
    "StorageCapExceeded": (K.QUOTA, "Raise the account's storage cap."),
    "StorageQuotaExceeded": (K.QUOTA, "Free space in the bucket or raise its quota."),
    # the configuration
    "NoSuchBucket": (K.CONFIG, "Create the bucket or correct its name."),
    "InvalidBucketName": (K.CONFIG, "Correct the bucket's name."),
    "AccessDenied": (K.CONFIG, PERMISSION),
    "AllAccessDisabled": (K.CONFIG, PERMISSION),
    "AccessControlListNotSupported": (K.CONFIG, "The bucket has ACLs disabled: leave out acl."),
    "PermanentRedirect": (K.CONFIG, REGION),
    "TemporaryRedirect": (K.CONFIG, REGION),
    "AuthorizationHeaderMalformed": (K.CONFIG, REGION),
    "IllegalLocationConstraintException": (K.CONFIG, REGION),
    "RequestTimeTooSkewed": (K.CONFIG, CLOCK),
    "RequestExpired": (K.CONFIG, CLOCK),
    "InvalidStorageClass": (K.CONFIG, "The store does not know this storage_class."),
    "NotImplemented": (K.CONFIG, "The store lacks what an option asks for (sse, acl, storage_class)."),
    "KMS.DisabledException": (K.CONFIG, "Enable the KMS key."),
    "KMS.NotFoundException": (K.CONFIG, "Correct sse_kms_key_id."),
    "KMS.KMSInvalidStateException": (K.CONFIG, "Enable the KMS key."),
    "InvalidEncryptionAlgorithmError": (K.CONFIG, "Correct sse."),
    "ServerSideEncryptionConfigurationNotFoundError": (K.CONFIG, "Correct sse."),
    "MethodNotAllowed": (K.CONFIG, "The endpoint does not seem to be an S3 API."),
    "EntityTooSmall": (K.CONFIG, "The store wants larger parts: raise part_size."),
    "InvalidRequest": (K.CONFIG, None),
    "InvalidArgument": (K.CONFIG, None),
    "MissingContentLength": (K.CONFIG, "A proxy before the store strips Content-Length."),
    "MalformedXML": (K.CONFIG, None),
    "InvalidObjectState": (K.CONFIG, None),
    # the item
    "PreconditionFailed": (K.CONFLICT, None),
    "KeyTooLongError": (K.NAME, None),
    "InvalidURI": (K.NAME, None),
    "XMinioInvalidObjectName": (K.NAME, None),
    "InvalidObjectName": (K.NAME, None),
    "EntityTooLarge": (K.TOO_LARGE, None),
    "MaxMessageLengthExceeded": (K.TOO_LARGE, None),
}  # fmt: skip
"""Error code of the service → kind and hint."""

STATUSES: Mapping[int, tuple[ErrorKind, str | None]] = {
    301: (K.CONFIG, REGION),
    302: (K.CONFIG, "The endpoint redirects; redirects are not followed. Set its real address."),
    307: (K.CONFIG, REGION),
    308: (K.CONFIG, "The endpoint redirects; redirects are not followed. Set its real address."),
    401: (K.AUTH_REVOKED, LOGIN),
    403: (K.CONFIG, PERMISSION),
    404: (K.CONFIG, "Check endpoint and bucket."),
    405: (K.CONFIG, "The endpoint does not seem to be an S3 API."),
    408: (K.TRANSIENT, None),
    412: (K.CONFLICT, None),
    413: (K.TOO_LARGE, None),
    414: (K.NAME, None),
    429: (K.THROTTLED, None),
    507: (K.QUOTA, "The store's disks are full."),
    509: (K.THROTTLED, None),
}
"""HTTP status → kind and hint, where the code says nothing (HEAD answers, proxies)."""
