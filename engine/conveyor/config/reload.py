"""Takes over a changed config while the engine runs: checked first, then all at once, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from conveyor.config.files import Files
from conveyor.config.loader import Config, load
from conveyor.config.model import Destination
from conveyor.errors import ConfigError, Problem

RESTART = (
    "ledger",
    "ledger_direct",
    "broker",
    "payloads",
    "payload_options",
    "payload_encryption",
    "key",
    "workers",
    "metrics",
    "plugins",
)
"""Settings that a running engine keeps until it is restarted."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a reload did.

    Attributes:
        accepted: False: the new config has mistakes that concern more than single destinations, and the old
            one stays in force.
        config: The config that is now in force.
        problems: All mistakes of the new config; also of an accepted one, whose destinations with mistakes
            are quarantined.
        added, removed, changed: Ids of destinations.
        needs_restart: Changed settings that take effect only after a restart.
    """

    accepted: bool
    config: Config
    problems: tuple[Problem, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()


class Reloader:
    """Watches a config's files.

    Args:
        config: The config in force. Its ``source`` stays in use and receives what is reloaded.
        env: For ``${VARIABLE}``; the process's environment by default.
    """

    def __init__(self, config: Config, *, env: Mapping[str, str] | None = None) -> None:
        self.config = config
        self._env = env
        self._seen = config.files.then()
        self._suspect: object = None
        self._files = config.files
        self._requested = False

    def request(self) -> None:
        """Make the next ``poll`` reload in any case. Safe in a signal handler (SIGHUP)."""
        self._requested = True

    def poll(self) -> Change | None:
        """Reload when a file has changed, was added or has gone; call it every second or so.

        A change is acted upon when two polls in a row see the same: an editor may be half-way through. A
        request is acted upon at once.

        Returns:
            What happened, or None when there is nothing new. A bad config is reported once, not at each poll.
        """
        requested, self._requested = self._requested, False
        now = self._files.now()
        if not requested:
            if now == self._seen:
                self._suspect = None
                return None
            if now != self._suspect:
                self._suspect = now
                return None
        self._suspect = None
        return self._reload()

    def _reload(self) -> Change:
        old = self.config
        before = old.source.snapshot.destinations
        self._files = Files()
        try:
            new = load(old.path, env=self._env, registry=old.registry, known=before, files=self._files)
        except ConfigError as error:
            return Change(False, old, error.problems)
        finally:
            self._seen = self._files.then()
        after = new.source.snapshot.destinations
        old.source.take_over(new.source.snapshot)
        self.config = replace(new, source=old.source)
        return Change(
            True,
            self.config,
            new.problems,
            added=tuple(name for name in after if name not in before),
            removed=tuple(name for name in before if name not in after),
            changed=tuple(name for name in after if name in before and _differ(before[name], after[name])),
            needs_restart=tuple(
                name for name in RESTART if getattr(old.settings, name) != getattr(new.settings, name)
            ),
        )


def _differ(old: Destination, new: Destination) -> bool:
    return old.revision != new.revision or old.problem != new.problem
