"""Values that stand elsewhere: ``${NAME}``, ``${NAME:-default}``, ``!file PATH``; ``$$`` is a ``$``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from conveyor.config.files import Files
from conveyor.config.nodes import Fault, Mark, Node
from conveyor.config.nodes import Path as TreePath
from conveyor.config.options import expanded

_REFERENCE = re.compile(r"\$(?:\$|\{([^}]*)\}?)")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
LARGEST_SECRET_FILE = 1024 * 1024
"""Bytes; what is larger than a key or a certificate chain was named by mistake."""

Found = list[tuple[TreePath, Fault]]
"""Faults with the path of the value that they concern."""

_NOWHERE = Mark("", 0, 0)


class Expander:
    """Turns trees into plain data.

    Args:
        env: The environment.
        base: The folder of the config file, for relative ``!file`` paths.
        files: Reads files and remembers them: a change of a secret's file is a change of config.
        secrets: What resolves the tags of plugins, by tag.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        base: Path,
        files: Files,
        secrets: Mapping[str, Callable[[str], str]] | None = None,
    ) -> None:
        self._env = env
        self._base = base
        self._files = files
        self._secrets: Mapping[str, Callable[[str], str]] = {} if secrets is None else secrets

    def plain(self, node: Node, path: TreePath, found: Found) -> Any:
        """The node's data with all references replaced; what is wrong goes to ``found``."""
        if node.tag is not None and node.tag in self._secrets:
            return self._resolved(node.tag, node, path, found)
        found.extend((path, fault) for fault in node.faults)
        value = node.value
        if isinstance(value, dict):
            return {key: self.plain(child, (*path, key), found) for key, child in value.items()}
        if isinstance(value, list):
            return [self.plain(child, (*path, index), found) for index, child in enumerate(value)]
        if isinstance(value, str):
            mark = node.mark or _NOWHERE
            if "$" in value:
                value = self._substitute(value, path, mark, found)
            if node.from_file:
                value = self._content(value, path, mark, found)
        return value

    def _substitute(self, text: str, path: TreePath, mark: Mark, found: Found) -> str:
        def replace(match: re.Match[str]) -> str:
            if match.group() == "$$":
                return "$"
            inside = _INSIDE.fullmatch(match.group(1))
            if inside is None or not match.group().endswith("}") or "${" in match.group(1):
                found.append((path, Fault(_MALFORMED, mark, "a literal ${ is written $${")))
                return ""
            name, default = inside.groups()
            value = self._env.get(name, "")
            if not value and default is None:
                found.append((path, _missing_variable(name, name in self._env, mark)))
            return value or default or ""

        return _REFERENCE.sub(replace, text)

    def _resolved(self, tag: str, node: Node, path: TreePath, found: Found) -> str:
        mark, text = node.mark or _NOWHERE, str(node.value)
        if "$" in text:
            text = self._substitute(text, path, mark, found)
        try:
            secret = self._secrets[tag](text)
            if isinstance(secret, str):
                return secret
            complaint = f"its plugin gave {type(secret).__name__}, not text"
        except (Exception, SystemExit) as error:
            complaint = f"its plugin raised {type(error).__name__}"  # the text may quote a secret
        cure = "see whether what keeps the secret can be reached, and has it"
        found.append((path, Fault(f"!{tag} cannot be resolved: {complaint}", mark, cure)))
        return ""

    def _content(self, name: str, path: TreePath, mark: Mark, found: Found) -> str:
        file = self._base / name
        try:
            file = self._base / expanded(name)
            data = self._files.read(file, limit=LARGEST_SECRET_FILE + 1)
            if len(data) <= LARGEST_SECRET_FILE:
                return data.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
            complaint = "is larger than 1 MiB"
        except OSError as error:
            complaint = f"cannot be read: {error.strerror or type(error).__name__}"
        except UnicodeDecodeError:
            complaint = "is not UTF-8 text"
        except ValueError as error:
            complaint = f"cannot be read: {error}"
        cure = "relative paths are relative to the config file"
        found.append((path, Fault(f"the file {file} {complaint}", mark, cure)))
        return ""


class Verbatim(Expander):
    """Replaces nothing: documents from an application must not read the operator's environment or files."""

    def __init__(self) -> None:
        super().__init__({}, Path(), Files())

    def plain(self, node: Node, path: TreePath, found: Found) -> Any:
        """The node's data as it is."""
        found.extend((path, fault) for fault in node.faults)
        if isinstance(node.value, dict):
            return {key: self.plain(child, (*path, key), found) for key, child in node.value.items()}
        if isinstance(node.value, list):
            return [self.plain(child, (*path, index), found) for index, child in enumerate(node.value)]
        return node.value


_MALFORMED = "expected ${VARIABLE} or ${VARIABLE:-default}"


def _missing_variable(name: str, is_set: bool, mark: Mark) -> Fault:
    state = "is empty" if is_set else "is not set"
    cure = f"export {name}=…, write ${{{name}:-default}}, or read it from a file: !file PATH"
    return Fault(f"the environment variable {name} {state}", mark, cure)
