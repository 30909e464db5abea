"""The conformance suite: what every connector promises, as tests.

A connector's author writes a dozen lines::

    class TestMyConnector(ConnectorSuite):
        @pytest.fixture(scope="class")
        @classmethod
        def bench(cls, tmp_path_factory):
            with my_server(root := tmp_path_factory.mktemp("root")) as server:
                yield Bench(
                    spec=MY_SPEC,
                    options={"url": server.url, "password": "…"},
                    observer=FolderObserver(root),
                    address=(server.host, server.port),
                    through=lambda host, port: {"url": f"http://{host}:{port}"},
                    wrong_credentials={"password": "wrong"},
                    missing_place={"folder": "nowhere"},
                    unavailable={"full": "the server has no quota"},
                )

Declared capabilities and what the bench can do choose the tests; each skip is counted and printed with its
reason, and a suite that ran nothing fails.
"""

from __future__ import annotations

from conveyor.testing.suite.base import SuitePart
from conveyor.testing.suite.bytes import BytesSuite
from conveyor.testing.suite.conflicts import ConflictsSuite
from conveyor.testing.suite.crashes import CrashesSuite
from conveyor.testing.suite.errors import ErrorsSuite
from conveyor.testing.suite.faults import FaultsSuite
from conveyor.testing.suite.names import NamesSuite
from conveyor.testing.suite.repeats import RepeatsSuite
from conveyor.testing.suite.resources import ResourcesSuite

__all__ = ["ConnectorSuite", "SuitePart"]


class ConnectorSuite(
    BytesSuite,
    NamesSuite,
    ConflictsSuite,
    RepeatsSuite,
    FaultsSuite,
    CrashesSuite,
    ErrorsSuite,
    ResourcesSuite,
):
    """All of it. Subclass with a name that begins with ``Test`` and provide the fixture ``bench``."""
