"""What can be wrong with a template, and with the path that it renders to."""

from __future__ import annotations

from conveyor.errors import ConveyorError, Exit


class TemplateError(ConveyorError):
    """A path template is wrong; found when the configuration loads.

    Args:
        message: What is wrong.
        column: Where in the template's text, counted from 1.
        nearest: The valid name that comes closest to the one that is wrong.
        cure: What to write instead; made from ``nearest`` when not given.
    """

    exit_code = Exit.CONFIG

    def __init__(
        self, message: str, *, column: int, nearest: str | None = None, cure: str | None = None
    ) -> None:
        if cure is None and nearest is not None:
            cure = f"did you mean '{nearest}'?"
        super().__init__(f"column {column}: {message}", cure=cure)
        self.reason = message
        self.column = column
        self.nearest = nearest


class PluginPathError(ConveyorError):
    """A plugin's variable or filter failed: the template is at fault, not the job."""


class PathError(ConveyorError):
    """A template renders to no usable path for this job; the delivery fails as NAME."""
