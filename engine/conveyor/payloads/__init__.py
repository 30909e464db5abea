"""Where the bytes of jobs lie until every delivery is final."""

from conveyor.payloads.local import LocalStore
from conveyor.payloads.sealing import PayloadKeys
from conveyor.payloads.store import PayloadStore, open_store
from conveyor.payloads.writing import Staged

__all__ = ["LocalStore", "PayloadKeys", "PayloadStore", "Staged", "open_store"]
