"""How tests are handed out to processes (``tests/distribution.py``)."""

from __future__ import annotations

from pathlib import Path

from distribution import ONE_BY_ONE, ORDER, group_of, rank

ROOT = Path(__file__).parents[2]
BROKERS = "tests/machines/test_machines_processes.py::test_run_does_all_in_one"


def test_what_is_costly_is_shared() -> None:
    assert group_of("tests/packaging/a.py::test_a") == group_of("tests/packaging/b.py::test_b[c]")
    assert group_of(f"{BROKERS}[rabbitmq]") == group_of("tests/machines/test_machines_tls.py::test_a[amqps]")
    assert group_of(f"{BROKERS}[redis]") == f"{BROKERS}[redis]"
    payloads = "tests/machines/test_machines_payloads.py::test_"
    assert group_of(f"{payloads}a[seaweed]") == group_of(f"{payloads}b")


def test_modules_and_classes_stay_together() -> None:
    assert group_of("tests/unit/a.py::test_a[x::y]") == "tests/unit/a.py"
    assert group_of("tests/conformance/a.py::TestA::test_a[b]") == "tests/conformance/a.py::TestA"


def test_the_longest_begin() -> None:
    groups = ["packaging", "tests/e2e/a.py::test_a", "tests/cli/a.py", "tests/unit/a.py"]
    backwards = groups[::-1]
    assert sorted(backwards, key=rank) == groups


def test_there_are_such_tests() -> None:
    files = [str(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("test_*.py")]
    for start in (*ONE_BY_ONE, *ORDER):
        assert any(file.startswith(start) for file in files), start
