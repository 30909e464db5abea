"""A webhook receiver for developers: verifies, saves, and fails on request.

What ``conveyor listen`` and the demo run. It shares no code with the webhook connector, so that each checks
the other.
"""

from conveyor.receiver.receiver import Answer, Received, Receiver, Request

__all__ = ["Answer", "Received", "Receiver", "Request"]
