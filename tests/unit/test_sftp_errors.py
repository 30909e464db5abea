"""Every way in which paramiko and SFTP servers refuse has its kind."""

from __future__ import annotations

import pytest
from servers.paramiko_errors import every_exception, exception_classes

from conveyor.contract import ErrorKind
from conveyor.network import Network
from conveyor_connectors.ftp.sftp import errors
from conveyor_connectors.ftp.sftp.client import StatusError
from conveyor_connectors.ftp.sftp.wire import Packet, Status


def test_paramikos_exceptions_are_all_in_the_table() -> None:
    missing = {kind.__name__ for kind in exception_classes() if kind not in errors.EXCEPTIONS}
    assert len(exception_classes()) >= 20
    assert not missing


@pytest.mark.parametrize("error", list(every_exception()), ids=lambda error: type(error).__name__)
def test_each_becomes_a_delivery_error(error: BaseException) -> None:
    told = errors.of_exception(error, "server:22")
    assert told.message.startswith("server:22: ")
    assert told.__cause__ is None
    assert told.kind in {ErrorKind.TRANSIENT, ErrorKind.CONFIG, ErrorKind.AUTH_REVOKED}


def test_an_unknown_exception_tells_only_its_class() -> None:
    told = errors.of_exception(ValueError("password=hunter2"), "server:22")
    assert told.kind is ErrorKind.TRANSIENT
    assert "hunter2" not in told.message


def test_a_refused_network_keeps_its_cure() -> None:
    with pytest.raises(Exception, match="private address") as refused:
        Network().check("10.0.0.1")
    told = errors.of_exception(refused.value, "server:22")
    assert told.kind is ErrorKind.CONFIG
    assert "allow_private: [10.0.0.1/32]" in (told.hint or "")


# Recorded from OpenSSH 9.2, mod_sftp 1.1, asyncssh 2.24 and rclone 1.75.
RECORDED = [
    (Status.BAD_MESSAGE, "Bad message", Packet.RENAME, ErrorKind.NAME),
    (Status.FAILURE, "File name too long", Packet.MKDIR, ErrorKind.NAME),
    (Status.FAILURE, "mkdir /data/nnn: file name too long", Packet.MKDIR, ErrorKind.NAME),
    (Status.FAILURE, "Out of disk space", Packet.WRITE, ErrorKind.QUOTA),
    (Status.FAILURE, "No space left on device", Packet.WRITE, ErrorKind.QUOTA),
    (Status.NO_SPACE, "", Packet.WRITE, ErrorKind.QUOTA),
    (Status.QUOTA_EXCEEDED, "", Packet.CLOSE, ErrorKind.QUOTA),
    (Status.PERMISSION_DENIED, "Permission denied", Packet.OPEN, ErrorKind.CONFIG),
    (Status.FAILURE, "Failure", Packet.WRITE, ErrorKind.TRANSIENT),
    (Status.BAD_MESSAGE, "Bad message", Packet.WRITE, ErrorKind.TRANSIENT),
    (99, "strange", Packet.OPEN, ErrorKind.TRANSIENT),
]


@pytest.mark.parametrize(("code", "text", "request_", "kind"), RECORDED)
def test_recorded_refusals(code: int, text: str, request_: Packet, kind: ErrorKind) -> None:
    refusal = StatusError(code, text, request_)
    assert errors.kind_of_status(refusal) is kind
    assert errors.of_status(refusal, "writing").code == str(int(code))
