"""What the verbs of connections share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conveyor.errors import ConveyorError, UsageError

if TYPE_CHECKING:
    from conveyor.config import Destination
    from conveyor.installation import Installation
    from conveyor.oauth.application import Application
    from conveyor.oauth.http import NoAnswer
    from conveyor.oauth.refusals import Refused


def need_connection(destination: Destination) -> str:
    """The id of a destination's connection.

    Raises:
        ConveyorError: The destination is spoilt, or its type has no sign-in.
    """
    if destination.problem is not None:
        raise ConveyorError(str(destination.problem), cure="conveyor validate shows all mistakes")
    found = destination.connection
    if found is None:
        raise UsageError(
            f"{destination.id} is of type {destination.type}, which has its credentials in the config",
            cure=f"conveyor test {destination.id} tries them out",
        )
    return found


def application(installation: Installation, destination: Destination) -> Application:
    """The application that a destination signs in with. Raises ConveyorError when its provider is missing."""
    from conveyor.oauth.application import Application

    provider = installation.config.registry.provider(destination.spec.oauth or "")
    return Application.of(destination, provider, installation.clock)


def as_error(error: Refused | NoAnswer, destination: str) -> ConveyorError:
    """A provider's refusal, or its silence, for the person at the terminal."""
    from conveyor.oauth.refusals import Refused, delivery_error

    if isinstance(error, Refused):
        told = delivery_error(error, destination, attended=False)
        hint = None if told.hint and "credentials" in told.hint else told.hint
        return ConveyorError(error.message, cure=hint or "run it again")
    return ConveyorError(
        f"the provider: {error.message}", cure="see that it can be reached, and run it again"
    )
