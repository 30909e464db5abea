"""What the service's error codes and statuses mean to the engine.

Sources: https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes,
https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes, and what Azurite was seen to
send.
"""

from __future__ import annotations

from collections.abc import Mapping

from conveyor.contract import ErrorKind

LOGIN = "Check the key or SAS: it may have been rotated, have run out, or be for another account."
PERMISSION = (
    "Allow this sign-in to create, write and read in the container: the role Storage Blob Data Contributor, "
    "or a SAS with sp=racw that has not run out; the account's firewall may also refuse this machine."
)
IDENTITY = "The machine's identity was not accepted: give it the role Storage Blob Data Contributor."
OPTION = "The account does not support what an option asks for (tier, tags, encryption_scope)."
LEASED = "Somebody holds a lease on this blob; break the lease or wait for its end."

K = ErrorKind

CODES: Mapping[str, tuple[ErrorKind, str | None]] = {
    # passes by itself
    "InternalError": (K.TRANSIENT, None),
    "OperationTimedOut": (K.TRANSIENT, None),
    "ContainerBeingDeleted": (K.TRANSIENT, None),
    "AccountBeingCreated": (K.TRANSIENT, None),
    "SystemInUse": (K.TRANSIENT, None),
    "PendingCopyOperation": (K.TRANSIENT, None),
    "DestinationPathIsBeingDeleted": (K.TRANSIENT, None),
    "LeaseIdMissing": (K.TRANSIENT, LEASED),
    "LeaseAlreadyPresent": (K.TRANSIENT, LEASED),
    "LeaseIdMismatchWithBlobOperation": (K.TRANSIENT, LEASED),
    "LeaseIsBreakingAndCannotBeChanged": (K.TRANSIENT, LEASED),
    "BlobBeingRehydrated": (K.TRANSIENT, None),
    # asks to slow down: https://learn.microsoft.com/azure/storage/blobs/scalability-targets
    "ServerBusy": (K.THROTTLED, None),
    "TooManyRequests": (K.THROTTLED, None),
    # the bytes differ
    "Md5Mismatch": (K.INTEGRITY, None),
    "Crc64Mismatch": (K.INTEGRITY, None),
    "InvalidMd5": (K.INTEGRITY, None),
    "IncompleteBody": (K.INTEGRITY, None),
    # the blocks are gone, or another program's stand in the way
    "InvalidBlockList": (K.SESSION_LOST, None),
    "InvalidBlockId": (K.SESSION_LOST, None),
    "InvalidBlobOrBlock": (K.SESSION_LOST, None),
    # the login
    "AuthenticationFailed": (K.AUTH_REVOKED, LOGIN),
    "InvalidAuthenticationInfo": (K.AUTH_REVOKED, LOGIN),
    "NoAuthenticationInformation": (K.AUTH_REVOKED, LOGIN),
    "KeyBasedAuthenticationNotPermitted": (
        K.AUTH_REVOKED, "The account has key access disabled: use identity or a user delegation SAS.",
    ),
    "AccountIsDisabled": (K.AUTH_REVOKED, "Azure has disabled the account: see its page in the portal."),
    # the permission
    "AuthorizationFailure": (K.CONFIG, PERMISSION),
    "AuthorizationPermissionMismatch": (K.CONFIG, PERMISSION),
    "AuthorizationProtocolMismatch": (K.CONFIG, "The SAS allows https only: use an https address."),
    "AuthorizationResourceTypeMismatch": (K.CONFIG, "The SAS must allow the resource type object."),
    "AuthorizationServiceMismatch": (K.CONFIG, "The SAS must allow the blob service."),
    "AuthorizationSourceIPMismatch": (K.CONFIG, "The SAS does not allow this machine's address."),
    "InsufficientAccountPermissions": (K.CONFIG, PERMISSION),
    "UnauthorizedBlobOverwrite": (K.CONFIG, "conflict: overwrite needs the SAS permission w beside c."),
    "PublicAccessNotPermitted": (K.CONFIG, "The request carried no sign-in: check the options."),
    # the configuration
    "ContainerNotFound": (K.CONFIG, "Create the container or correct its name."),
    "ResourceNotFound": (K.CONFIG, "Create the container or correct its name."),
    "FilesystemNotFound": (K.CONFIG, "Create the container or correct its name."),
    "ContainerDisabled": (K.CONFIG, "The container has been disabled by its administrator."),
    "BlobAccessTierNotSupportedForAccountType": (K.CONFIG, OPTION),
    "InvalidBlobTier": (K.CONFIG, OPTION),
    "BlobTierInadequateForContentLength": (K.CONFIG, OPTION),
    "AccessTierNotSupported": (K.CONFIG, OPTION),
    "EncryptionScopeNotFound": (K.CONFIG, OPTION),
    "EncryptionScopeDisabled": (K.CONFIG, OPTION),
    "FeatureNotSupportedForAccount": (K.CONFIG, OPTION),
    "FeatureVersionMismatch": (K.CONFIG, OPTION),
    "ConditionHeadersNotSupported": (K.CONFIG, None),
    "UnsupportedHeader": (K.CONFIG, OPTION),
    "UnsupportedRestVersion": (K.CONFIG, "The server is too old for this version of azure-storage-blob."),
    "InvalidHeaderValue": (K.CONFIG, "Check metadata, tags and headers; the server may also be too old."),
    "InvalidMetadata": (K.CONFIG, "Check metadata."),
    "EmptyMetadataKey": (K.CONFIG, "Check metadata."),
    "MetadataTooLarge": (K.CONFIG, "Shorten metadata."),
    "InvalidTags": (K.CONFIG, "Check tags."),
    "InvalidQueryParameterValue": (K.CONFIG, "Check the SAS: it seems cut or changed."),
    "MissingRequiredHeader": (K.CONFIG, "A proxy before the service strips headers."),
    "MissingContentLengthHeader": (K.CONFIG, "A proxy before the service strips Content-Length."),
    "UnsupportedHttpVerb": (K.CONFIG, "The address does not seem to be a blob endpoint."),
    "InvalidHttpVerb": (K.CONFIG, "The address does not seem to be a blob endpoint."),
    "InvalidUri": (K.CONFIG, None),
    "InvalidInput": (K.CONFIG, None),
    # the item
    "BlobAlreadyExists": (K.CONFLICT, None),
    "ResourceAlreadyExists": (K.CONFLICT, None),
    "PathAlreadyExists": (K.CONFLICT, None),
    "ConditionNotMet": (K.CONFLICT, None),
    "TargetConditionNotMet": (K.CONFLICT, None),
    "InvalidBlobType": (K.REJECTED, "An append or page blob stands there, which cannot be replaced."),
    "BlobImmutableDueToPolicy": (K.REJECTED, "An immutability policy or legal hold protects that blob."),
    "BlobArchived": (K.REJECTED, "The blob there is archived; rehydrate it first."),
    "SnapshotsPresent": (K.REJECTED, "The blob there has snapshots."),
    "OutOfRangeInput": (K.NAME, None),
    "InvalidResourceName": (K.NAME, None),
    "InvalidFileOrDirectoryPathName": (K.NAME, None),
    "PathConflict": (K.NAME, "A file stands where the path needs a folder, or the other way round."),
    "ResourceTypeMismatch": (K.NAME, "A folder stands where the file should."),
    "RequestUrlFailedToParse": (K.NAME, None),
    "RequestBodyTooLarge": (K.TOO_LARGE, None),
    "ContentLengthLargerThanTierLimit": (K.TOO_LARGE, None),
    "BlockCountExceedsLimit": (K.TOO_LARGE, None),
    "BlockListTooLong": (K.TOO_LARGE, None),
}  # fmt: skip
"""Error code of the service → kind and hint."""

STATUSES: Mapping[int, tuple[ErrorKind, str | None]] = {
    301: (K.CONFIG, "The address redirects; redirects are not followed. Give the account's own one."),
    302: (K.CONFIG, "The address redirects; redirects are not followed. Give the account's own one."),
    307: (K.CONFIG, "The address redirects; redirects are not followed. Give the account's own one."),
    308: (K.CONFIG, "The address redirects; redirects are not followed. Give the account's own one."),
    401: (K.AUTH_REVOKED, LOGIN),
    403: (K.CONFIG, PERMISSION),
    404: (K.CONFIG, "Check address and container."),
    405: (K.CONFIG, "The address does not seem to be a blob endpoint."),
    407: (K.CONFIG, "The proxy refuses: check network.proxy."),
    408: (K.TRANSIENT, None),
    412: (K.CONFLICT, None),
    413: (K.TOO_LARGE, None),
    414: (K.NAME, None),
    429: (K.THROTTLED, None),
    507: (K.QUOTA, "The store is full."),
}
"""HTTP status → kind and hint, where the code says nothing (proxies, other makers' servers)."""
