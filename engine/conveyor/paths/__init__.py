"""From a path template and a job's metadata to a path that is legal and confined at the destination."""

from conveyor.paths.errors import PathError, TemplateError
from conveyor.paths.names import LengthUnit, NameRules
from conveyor.paths.placing import Change, Placed, mistakes, place
from conveyor.paths.template import DEFAULT_TEMPLATE, Template
from conveyor.paths.values import Values
from conveyor.paths.vocabulary import DATE_CODES, FAMILIES, FILTERS, FORMATS, VARIABLES

__all__ = [
    "DATE_CODES",
    "DEFAULT_TEMPLATE",
    "FAMILIES",
    "FILTERS",
    "FORMATS",
    "VARIABLES",
    "Change",
    "LengthUnit",
    "NameRules",
    "PathError",
    "Placed",
    "Template",
    "TemplateError",
    "Values",
    "mistakes",
    "place",
]
