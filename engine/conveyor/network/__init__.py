"""The network policy and what dials under it.

Every address that is dialled is resolved once, checked, and dialled as checked: a name that changes its
answer between check and use (DNS rebinding) gains nothing. Private and loopback ranges are reached only
where ``allow_private`` lists them; cloud metadata services and link-local addresses never.
"""

from conveyor.network.lifeline import within
from conveyor.network.network import Network
from conveyor.network.policy import NetworkRefused, Policy, Reach, classify

__all__ = ["Network", "NetworkRefused", "Policy", "Reach", "classify", "within"]
