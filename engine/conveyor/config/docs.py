"""Writes the configuration reference from the models: ``python -m conveyor.config.docs [--check] FILE``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from conveyor.config.describe import OptionInfo, describe_options
from conveyor.config.expand import LARGEST_SECRET_FILE
from conveyor.config.model import CommonModel
from conveyor.config.reload import RESTART
from conveyor.config.settings import Settings
from conveyor.config.units import SECONDS, format_size
from conveyor.contract import ConnectorSpec
from conveyor.registry import Registry, default_registry

_UNITS = ", ".join(f"`{unit}`" for unit in SECONDS)

INTRODUCTION = f"""\
# Configuration

<!-- Made from the option models by `python -m conveyor.config.docs docs/configuration.md`: do not edit. -->

One YAML file, `conveyor.yaml` by default, holds the settings, and the destinations or the files that hold
them. `config.example.yaml` is a complete one. `conveyor validate` finds every mistake at once, with its line
and the nearest valid name; `conveyor schema > conveyor.schema.json` writes the JSON Schema for your editor.

## Rules

* Options are written in snake_case. The published camelCase names (`accessKey`) are accepted, both at once
  is a mistake.
* Durations: `30s`, `2m`, `1h30m`, `7d`; units are {_UNITS}; a bare number is
  seconds. Sizes and rates: `65536`, `32KiB`, `5MB`, `1.5GiB`, up to `TiB`; a bare number is bytes.
* `${{NAME}}` takes an environment variable; unset or empty is a mistake. `${{NAME:-default}}` has a default,
  which may be empty. `$$` is a literal `$`.
* `!file path` takes a file's content: UTF-8, up to {format_size(LARGEST_SECRET_FILE)}, without its last
  newline.
* Relative paths, also in included files, are relative to the folder of the main config file.
* Scalars are those of YAML 1.2: `no`, `on` and `1:30` are text; `true` and `false` are the only booleans.
  Numbers keep how they are written when an option wants text: `password: 007` is `007`. Merge keys (`<<`)
  are not accepted; that is what presets are for.
* `include` names further files by glob patterns. They may hold `destinations` and `presets` and nothing else.
* `presets` are named sets of options; a destination builds on them with `extends: name` or a list, and
  presets may extend presets. Mappings are merged key by key, everything else is replaced. The order is:
  defaults, presets from left to right, the destination itself.
* A mistake in one destination quarantines that one (`invalid_config`; what is submitted to it is held), the
  others deliver. Any other mistake, or any at all under `--strict`, ends with exit code 78.
* On SIGHUP, or when a file has changed (a `!file` too), the config is read again: checked first, then taken
  over at once without dropping work. A config that is wrong as a whole is reported and the old one stays in
  force. {", ".join(f"`{name}`" for name in RESTART)} take effect after a restart.
* Destinations that an application manages in the ledger obey the same models, but are taken literally:
  `${{NAME}}`, `!file` and `extends` mean nothing in them.

A destination's id has up to 128 letters, digits, `.`, `_` and `-`.
"""


def configuration_page(registry: Registry) -> str:
    """The whole page, Markdown."""
    return "\n".join(_lines(registry)).rstrip("\n") + "\n"


def _lines(registry: Registry) -> Iterator[str]:
    yield INTRODUCTION
    yield "## Settings\n"
    yield from _table(describe_options(Settings))
    yield "\n`destinations` and `presets` stand beside these.\n"
    yield "## Every destination\n"
    yield from _table(describe_options(CommonModel))
    for spec in registry.specs():
        yield from _type_lines(spec, registry)


def _type_lines(spec: ConnectorSpec, registry: Registry) -> Iterator[str]:
    yield f"\n## Type `{spec.type}`\n"
    yield f"{spec.summary}.\n"
    if spec.presets:
        implied = ", ".join(f"`{key}: {value}`" for key, value in spec.presets.items())
        twin = next((s.type for s in registry.specs() if s.options == spec.options and not s.presets), None)
        if twin is not None:
            yield f"The same as type `{twin}` with {implied}; all of that type's options apply.\n"
            yield from _example(spec)
            return
        yield f"Implies {implied}.\n"
    yield from _table(describe_options(registry.options_model(spec.type)))
    yield from _example(spec)


def _example(spec: ConnectorSpec) -> Iterator[str]:
    if spec.example:
        yield f"\n```yaml under=destinations\n{spec.example.rstrip()}\n```"


def _table(options: Iterable[OptionInfo]) -> Iterator[str]:
    yield "| option | type | default | meaning |"
    yield "|---|---|---|---|"
    for option in options:
        name = f"`{option.name}`" + (f" (`{option.alias}`)" if option.alias else "")
        default = "**required**" if option.required else f"`{option.default}`" if option.default else ""
        kind = option.type + (", secret" if option.secret else "")
        yield "| " + " | ".join(map(_cell, (name, kind, default, option.help))) + " |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` tell whether it is current (exit code 1 when it is not)."""
    check = "--check" in arguments
    names = [argument for argument in arguments if not argument.startswith("-")]
    if len(names) != 1:
        sys.stderr.write("usage: python -m conveyor.config.docs [--check] FILE\n")
        return 2
    page, target = configuration_page(default_registry()), Path(names[0])
    if not check:
        target.write_text(page, encoding="utf-8")
        return 0
    if target.exists() and target.read_text(encoding="utf-8") == page:
        return 0
    sys.stderr.write(f"{target} is out of date: python -m conveyor.config.docs {target}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
