"""Reloading: noticed, checked first, taken over at once, or refused and reported once."""

from __future__ import annotations

import os

import pytest

from conveyor.config import Reloader

ONE = "destinations: {a: {type: box, access_key: k}}"
TWO = "destinations: {a: {type: box, access_key: other}, b: {type: box, access_key: k}}"


@pytest.fixture
def reloader(read):
    def start(text: str, env: dict[str, str] | None = None) -> Reloader:
        return Reloader(read(text, env=env), env=env or {})

    return start


def settled(reloader):
    """What the second of two polls says: a change must be seen twice."""
    assert reloader.poll() is None
    return reloader.poll()


def test_nothing_changed_is_nothing(reloader):
    watching = reloader(ONE)
    assert [watching.poll() for _ in range(3)] == [None, None, None]


def test_a_change_is_taken_over_into_the_source_that_is_in_use(reloader, write):
    watching = reloader(ONE)
    source = watching.config.source
    before, old = source.revision(), source.get("a")
    write(TWO)
    change = settled(watching)
    assert change.accepted
    assert (change.added, change.removed, change.changed) == (("b",), (), ("a",))
    assert change.config is watching.config
    assert watching.config.source is source
    assert source.revision() != before
    assert source.get("a").options.access_key.get_secret_value() == "other"
    assert old.options.access_key.get_secret_value() == "k", "an attempt keeps what it started with"
    assert watching.poll() is None


def test_an_unchanged_destination_is_the_same_object(reloader, write):
    watching = reloader(TWO)
    kept = watching.config.source.get("b")
    write("\n\n" + TWO.replace("other", "new"))
    change = settled(watching)
    assert change.changed == ("a",)
    assert watching.config.source.get("b") is kept


def test_a_file_that_is_being_written_is_not_taken_half(reloader, write):
    watching = reloader(ONE)
    write("")
    assert watching.poll() is None
    write(TWO)
    assert watching.poll() is None
    assert len(watching.config.source.list()) == 1
    assert watching.poll().added == ("b",)


def test_a_change_that_is_taken_back_in_time_is_none(reloader, write, tmp_path):
    watching = reloader(ONE)
    path = tmp_path / "conveyor.yaml"
    os.utime(path, ns=(1, 1))
    watching.request()
    assert watching.poll().accepted
    os.utime(path, ns=(2, 2))
    assert watching.poll() is None
    os.utime(path, ns=(1, 1))
    assert watching.poll() is None
    assert watching.poll() is None


def test_a_bad_config_keeps_the_old_one_and_is_reported_once(reloader, write):
    watching = reloader(ONE)
    source = watching.config.source
    write("destinations: [")
    change = settled(watching)
    assert not change.accepted
    assert "while parsing" in str(change.problems[0])
    assert source.get("a").problem is None
    assert [watching.poll() for _ in range(3)] == [None, None, None]
    write(TWO)
    assert settled(watching).added == ("b",)


def test_a_bad_included_file_is_watched_until_it_is_right(reloader, write):
    watching = reloader(ONE)
    write("a: [", "more.yaml")
    write(ONE + "\ninclude: [more.yaml]")
    assert not settled(watching).accepted
    write("destinations: {b: {type: box, access_key: k}}", "more.yaml")
    assert settled(watching).added == ("b",)


def test_a_mistake_in_one_destination_is_accepted_and_quarantined(reloader, write):
    watching = reloader(TWO)
    write(TWO.replace("access_key: other", "acces_key: x"))
    change = settled(watching)
    assert change.accepted
    assert change.changed == ("a",)
    assert {problem.destination for problem in change.problems} == {"a"}
    assert watching.config.source.get("a").problem is not None
    write(TWO)
    assert settled(watching).changed == ("a",)
    assert watching.config.source.get("a").problem is None


def test_the_place_of_a_mistake_moves_with_the_text(reloader, write):
    watching = reloader("destinations: {a: {type: box}}")
    write("\n\n\ndestinations: {a: {type: box}}")
    settled(watching)
    assert watching.config.source.get("a").problem.line == 4


def test_secret_files_and_new_includes_are_watched(reloader, write, tmp_path):
    write("one", "key")
    watching = reloader("include: [d/*.yaml]\ndestinations: {a: {type: box, access_key: !file key}}")
    write("two!", "key")
    assert settled(watching).changed == ("a",)
    write("destinations: {b: {type: box, access_key: k}}", "d/b.yaml")
    assert settled(watching).added == ("b",)
    (tmp_path / "d" / "b.yaml").unlink()
    assert settled(watching).removed == ("b",)


def test_a_replaced_file_of_equal_size_and_time_is_noticed(reloader, write, tmp_path):
    write("one", "key")
    os.utime(tmp_path / "key", ns=(5, 5))
    watching = reloader("destinations: {a: {type: box, access_key: !file key}}")
    write("two", "new")
    os.utime(tmp_path / "new", ns=(5, 5))
    (tmp_path / "new").rename(tmp_path / "key")
    assert settled(watching).changed == ("a",)


def test_a_file_that_appears_mends_a_quarantined_destination(reloader, write):
    watching = reloader("destinations: {a: {type: box, access_key: !file later}}")
    assert watching.config.source.get("a").problem is not None
    write("here", "later")
    assert settled(watching).changed == ("a",)
    assert watching.config.source.get("a").problem is None


def test_a_request_reloads_at_once_and_rereads_the_environment(reloader):
    env = {"KEY": "one"}
    watching = reloader("destinations: {a: {type: box, access_key: '${KEY}'}}", env)
    env["KEY"] = "two"
    assert watching.poll() is None
    watching.request()
    assert watching.poll().changed == ("a",)
    assert watching.poll() is None


def test_the_file_gone_keeps_the_old_config(reloader, write, tmp_path):
    watching = reloader(ONE)
    (tmp_path / "conveyor.yaml").unlink()
    change = settled(watching)
    assert not change.accepted
    assert len(watching.config.source.list()) == 1
    write(TWO)
    assert settled(watching).added == ("b",)


def test_settings_that_need_a_restart_are_named(reloader, write):
    watching = reloader(ONE)
    write("workers: {threads: 2}\nledger: sqlite:///other.db\ntime_zone: utc\n" + ONE)
    change = settled(watching)
    assert change.accepted
    assert change.needs_restart == ("ledger", "workers")
    assert change.changed == ()


def test_a_new_default_reaches_every_destination_without_its_own(reloader, write):
    watching = reloader(TWO)
    write("defaults: {expire_after: 1h}\n" + TWO)
    assert settled(watching).changed == ("a", "b")
    assert watching.config.source.get("a").expire_after == 3600
