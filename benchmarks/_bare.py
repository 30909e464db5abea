"""What a few lines do with each service's SDK and a pool of threads: no record, no retry, no look afterwards.

Each function takes the destination's options, the files and how many go at once, and returns the seconds from
the first byte that could go to the last answer; imports and sign-in are not in them.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from benchmarks._kit import measured

Options = dict[str, Any]
Put = Callable[[Path], object]

_tokens: dict[str, str] = {}


def each(make: Callable[[], Put], files: list[Path], at_once: int) -> float:
    """Every file by what ``make`` makes once for each thread."""
    own = threading.local()

    def put(file: Path) -> None:
        if not hasattr(own, "put"):
            own.put = make()
        own.put(file)

    with measured() as spent, ThreadPoolExecutor(at_once) as pool:
        list(pool.map(put, files))
    return spent.wall


def token_of(options: Options) -> str:
    """An access token for the stand-in's refresh token, which may be good only once."""
    import requests

    if (url := options["token_url"]) not in _tokens:
        names = {"client_id", "client_secret", "refresh_token"} & options.keys()
        form = {"grant_type": "refresh_token", **{name: options[name] for name in names}}
        answer = requests.post(url, data=form, timeout=30)
        answer.raise_for_status()
        _tokens[url] = str(answer.json()["access_token"])
    return _tokens[url]


def s3(options: Options, files: list[Path], at_once: int) -> float:
    """boto3: one client, many threads."""
    import boto3
    from botocore.config import Config

    client: Any = boto3.client(
        "s3",
        endpoint_url=options["endpoint"],
        region_name=options["region"],
        aws_access_key_id=options["access_key"],
        aws_secret_access_key=options["secret_key"],
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=at_once),
    )
    return each(
        lambda: lambda file: client.upload_file(str(file), options["bucket"], file.name), files, at_once
    )


def azure_blob(options: Options, files: list[Path], at_once: int) -> float:
    """azure-storage-blob: one client, many threads."""
    from azure.storage.blob import ContainerClient

    client: Any = ContainerClient.from_connection_string(options["connection_string"], options["container"])

    def put(file: Path) -> None:
        with file.open("rb") as body:
            client.upload_blob(file.name, body, overwrite=True)

    return each(lambda: put, files, at_once)


def google_drive(options: Options, files: list[Path], at_once: int) -> float:
    """google-api-python-client: a service for each thread, one request a file, more for what is over 5 MB."""
    import google_auth_httplib2
    from google.oauth2.credentials import Credentials
    from googleapiclient.discovery import build_from_document
    from googleapiclient.http import MediaFileUpload, build_http

    place = resources("googleapiclient") / "discovery_cache" / "documents" / "drive.v3.json"
    root, token = f"{options['api_url'].rstrip('/')}/", token_of(options)
    document = {**json.loads(place.read_text()), "rootUrl": root, "baseUrl": f"{root}drive/v3/"}

    def make() -> Put:
        http = google_auth_httplib2.AuthorizedHttp(Credentials(token), http=build_http())
        service: Any = build_from_document(document, http=http).files()

        def put(file: Path) -> None:
            large = file.stat().st_size > 5_000_000
            media = MediaFileUpload(str(file), "image/jpeg", chunksize=8 << 20, resumable=large)
            service.create(body={"name": file.name}, media_body=media, fields="id").execute()

        return put

    return each(make, files, at_once)


def dropbox(options: Options, files: list[Path], at_once: int) -> float:
    """dropbox: a client for each thread, one request a file, a session for what is over 8 MiB."""
    import dropbox as sdk
    from dropbox.files import CommitInfo, UploadSessionCursor

    token, url, part = token_of(options), options["api_url"].rstrip("/"), 8 << 20

    class Client(sdk.Dropbox):  # type: ignore[misc]  # the SDK has no types
        def _get_route_url(self, hostname: str, route_name: str) -> str:
            return f"{url}/2/{route_name}"

    def make() -> Put:
        client = Client(token)

        def put(file: Path) -> None:
            with file.open("rb") as body:
                data = body.read(part)
                if len(data) < part:
                    client.files_upload(data, f"/{file.name}")
                    return
                session = client.files_upload_session_start(data).session_id
                while data := body.read(part):
                    cursor = UploadSessionCursor(session, body.tell() - len(data))
                    client.files_upload_session_append_v2(data, cursor)
                end = UploadSessionCursor(session, body.tell())
                client.files_upload_session_finish(b"", end, CommitInfo(f"/{file.name}"))

        return put

    return each(make, files, at_once)


def onedrive(options: Options, files: list[Path], at_once: int) -> float:
    """Microsoft Graph by requests, as msal's examples do: one PUT, a session for what is over 4 MiB."""
    import requests

    token, part = token_of(options), 32 * 320 * 1024
    root = f"{options['graph_url'].rstrip('/')}/me/drive/root:"

    def make() -> Put:
        session, plain = requests.Session(), requests.Session()
        session.headers["Authorization"] = f"Bearer {token}"

        def put(file: Path) -> None:
            size, item = file.stat().st_size, f"{root}/{file.name}:"
            with file.open("rb") as body:
                if size <= 4 << 20:
                    session.put(f"{item}/content", data=body).raise_for_status()
                    return
                answer = session.post(f"{item}/createUploadSession", json={})
                answer.raise_for_status()
                url = answer.json()["uploadUrl"]
                for start in range(0, size, part):
                    data = body.read(part)
                    where = {"Content-Range": f"bytes {start}-{start + len(data) - 1}/{size}"}
                    plain.put(url, data=data, headers=where).raise_for_status()

        return put

    return each(make, files, at_once)


def box(options: Options, files: list[Path], at_once: int) -> float:
    """box_sdk_gen: a client for each thread, its chunked upload for what is over 20 MB."""
    import box_sdk_gen as sdk

    token = token_of(options)
    urls = sdk.BaseUrls(base_url=options["api_url"], upload_url=options["upload_url"])

    def make() -> Put:
        network = sdk.NetworkSession(base_urls=urls)
        client = sdk.BoxClient(sdk.BoxDeveloperTokenAuth(token), network_session=network)
        place = sdk.UploadFileAttributesParentField(id="0")

        def put(file: Path) -> None:
            size = file.stat().st_size
            with file.open("rb") as body:
                if size < 20_000_000:
                    client.uploads.upload_file(sdk.UploadFileAttributes(name=file.name, parent=place), body)
                else:
                    client.chunked_uploads.upload_big_file(body, file.name, size, "0")

        return put

    return each(make, files, at_once)


def ftp(options: Options, files: list[Path], at_once: int) -> float:
    """ftplib: a connection for each thread; the certificate is not looked at."""
    import ftplib

    def make() -> Put:
        client = ftplib.FTP_TLS(context=ssl._create_unverified_context())
        client.connect(options["host"], options["port"])
        client.login(options["username"], options["password"])
        client.prot_p()

        def put(file: Path) -> None:
            with file.open("rb") as body:
                client.storbinary(f"STOR {file.name}", body, 256 * 1024)

        return put

    return each(make, files, at_once)


def sftp(options: Options, files: list[Path], at_once: int) -> float:
    """paramiko: a connection for each thread."""
    import io

    import paramiko

    key = paramiko.Ed25519Key.from_private_key(io.StringIO(options["private_key"]))

    def make() -> Put:
        transport = paramiko.Transport((options["host"], options["port"]))
        transport.connect(username=options["username"], pkey=key)
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        return lambda file: client.put(str(file), f"{options['remote_path']}/{file.name}")

    return each(make, files, at_once)


def webdav(options: Options, files: list[Path], at_once: int) -> float:
    """requests: a connection for each thread."""
    import requests

    def make() -> Put:
        client = requests.Session()
        client.auth = (options["username"].encode(), options["password"].encode())

        def put(file: Path) -> None:
            with file.open("rb") as body:
                client.put(f"{options['url'].rstrip('/')}/{file.name}", data=body).raise_for_status()

        return put

    return each(make, files, at_once)


BARE: dict[str, Callable[[Options, list[Path], int], float]] = {
    "s3": s3,
    "azure_blob": azure_blob,
    "google_drive": google_drive,
    "dropbox": dropbox,
    "onedrive": onedrive,
    "box": box,
    "ftp": ftp,
    "sftp": sftp,
    "webdav": webdav,
}
"""By the name of a place in :mod:`benchmarks.bench_files`; a webhook has no SDK."""
