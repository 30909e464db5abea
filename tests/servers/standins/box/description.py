"""Requests and answers held to Box's own OpenAPI description.

``openapi.json`` here is the trimmed copy (its ``info.x-source`` says of what). OpenAPI 3.0's ``nullable`` is
turned into JSON Schema. A field or parameter that the description does not have is refused. Four places
differ from it on purpose:

* ``code`` of an error may be any of
  https://developer.box.com/guides/api-calls/permissions-and-errors/common-errors/; most are not in the
  description's list;
* ``OPTIONS /files/{file_id}/content`` is in https://developer.box.com/guides/uploads/check/ and not in the
  description: the same body as for a new file;
* a commit may carry ``attributes`` (https://developer.box.com/guides/uploads/chunked/commit-session/);
* the ``attributes`` of an upload may carry its ``size``: the vendor's SDK sends it
  (box_sdk_gen/managers/uploads.py, ``upload_with_preflight_check``).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

_FILE = Path(__file__).with_name("openapi.json")


class Wrong(Exception):
    """A request or an answer that the description does not allow; ``name`` is the field or parameter."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name, self.message = name, message


def _plain(node: Any) -> Any:
    """OpenAPI's schema as JSON Schema."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: _plain(value) for key, value in node.items() if key != "nullable"}
    empty_null = any(isinstance(m, dict) and m.get("nullable") and len(m) == 1 for m in node.get("allOf", ()))
    if (node.get("nullable") is True and len(node) > 1) or empty_null:
        return {"anyOf": [{"type": "null"}, found]}
    return found


class Description:
    """The description, ready to judge."""

    def __init__(self) -> None:
        document = json.loads(_FILE.read_text())
        self._paths: dict[str, Any] = document["paths"]
        self._schemas = document["components"]["schemas"]
        del self._schemas["ClientError"]["properties"]["code"]["enum"]
        for where in ("/files/content", "/files/{file_id}/content"):
            self._paths[where]["options"] = self._paths["/files/content"]["options"]
        commit = self._body("post", "/files/upload_sessions/{upload_session_id}/commit", "application/json")
        new = self._body("post", "/files/content", "multipart/form-data")["properties"]["attributes"]
        commit["properties"]["attributes"] = {
            "type": "object",
            "properties": {name: new["properties"][name] for name in new["properties"] if "_at" in name},
        }
        new["properties"]["size"] = {"type": "integer"}
        self._components = _plain(self._schemas)

    def _body(self, method: str, path: str, media: str) -> Any:
        return self._paths[path][method]["requestBody"]["content"][media]["schema"]

    # --- requests ----------------------------------------------------------------------------------

    def media(self, method: str, path: str) -> str | None:
        """What the body has to be; None for none."""
        content = self._paths[path][method.lower()].get("requestBody", {}).get("content", {})
        return next(iter(content), None)

    def parameters(self, method: str, path: str, query: Mapping[str, str], headers: Any) -> dict[str, Any]:
        """The query, typed.

        Raises:
            Wrong: Something unknown, missing or of another type.
        """
        known = self._paths[path][method.lower()].get("parameters", [])
        by_name = {found["name"]: found for found in known if found["in"] == "query"}
        for name in query:
            if name not in by_name:
                raise Wrong(name, "no such parameter")
        for found in known:
            sent = query if found["in"] == "query" else headers
            if found.get("required") and found["in"] != "path" and not sent.get(found["name"]):
                raise Wrong(found["name"], "is missing")
        return {name: _typed(name, text, by_name[name]["schema"]) for name, text in query.items()}

    def body(self, method: str, path: str, media: str, value: Any, part: str | None = None) -> None:
        """Judge a request's body, or one part of it.

        Raises:
            Wrong: With the first mistake.
        """
        schema = self._body(method.lower(), path, media)
        if part is not None:
            schema = schema["properties"][part]
        self._judge(f"{method} {path} {part}", schema, value)
        for name in self._unknown(schema, value, ""):
            raise Wrong(name, "no such field")

    # --- answers -----------------------------------------------------------------------------------

    def answer(self, method: str, path: str, status: int, value: Any) -> None:
        """Judge an answer of ours.

        Raises:
            Wrong: The vendor would not have answered so.
        """
        answers = self._paths[path][method.lower()]["responses"]
        found = answers.get(str(status), answers.get("default") if status >= 400 else None)
        if found is None:
            raise Wrong(str(status), "no such status")
        content = found.get("content", {}).get("application/json")
        if content is not None:
            self._judge(f"{method} {path} {status}", content["schema"], value)

    # --- judging -----------------------------------------------------------------------------------

    def _judge(self, key: str, schema: Any, value: Any) -> None:
        for error in self._validator(key, json.dumps(schema)).iter_errors(value):
            missing = error.validator == "required"
            names = [str(part) for part in error.absolute_path]
            if missing:
                names.append(next(name for name in error.validator_value if name not in error.instance))
            raise Wrong(".".join(names) or "body", "is missing" if missing else error.message[:200])

    @functools.cache  # noqa: B019 - one description for the whole process
    def _validator(self, key: str, schema: str) -> Draft7Validator:
        known = {"schemas": self._components}
        return Draft7Validator({"allOf": [_plain(json.loads(schema))], "components": known})

    def _known(self, schema: Any) -> dict[str, Any]:
        """Names and schemas of an object's fields."""
        if "$ref" in schema:
            return self._known(self._schemas[schema["$ref"].rpartition("/")[2]])
        fields = dict(schema.get("properties", {}))
        for part in schema.get("allOf", ()):
            fields.update(self._known(part))
        return fields

    def _unknown(self, schema: Any, value: Any, above: str) -> Iterator[str]:
        if isinstance(value, dict):
            fields = self._known(schema)
            for name, inner in value.items():
                if name not in fields:
                    yield above + name
                else:
                    yield from self._unknown(fields[name], inner, f"{above}{name}.")
        elif isinstance(value, list):
            for item in value:
                yield from self._unknown(schema.get("items", {}), item, above)


def _typed(name: str, text: str, schema: Mapping[str, Any]) -> Any:
    """A parameter's text as what the description says it is."""
    match schema["type"]:
        case "integer":
            if not text.isascii() or not text.isdigit() or int(text) > schema.get("maximum", 2**63):
                raise Wrong(name, f"Invalid value '{text}'")
            return int(text)
        case "boolean":
            if text not in ("true", "false"):
                raise Wrong(name, f"Invalid value '{text}'")
            return text == "true"
        case "array":
            return text.split(",")
    if text not in schema.get("enum", [text]):
        raise Wrong(name, f"Invalid value '{text}'")
    return text


@functools.cache
def description() -> Description:
    """The one description of the process."""
    return Description()
