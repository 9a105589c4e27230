# SPDX-License-Identifier: MIT
"""The schemas of docs/json.md, and whether a value is as one of them says.

Only the keywords used there are known; any other fails, so that nothing goes unchecked.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs/json.md"

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_KEYWORDS = {"type", "required", "properties", "additionalProperties", "items", "enum"}


def schemas() -> dict[str, dict[str, Any]]:
    """Schemas by command."""
    found = re.findall(r"^## ([^\n]+)\n.*?```json\n(.*?)```", PAGE.read_text(), re.M | re.S)
    return {command: json.loads(text) for command, text in found}


def check(command: str, value: object) -> None:
    """Fail with a path unless a value is what the command is said to print."""
    _check(schemas()[command], value, command)


def _check(schema: dict[str, Any], value: object, where: str) -> None:
    assert set(schema) <= _KEYWORDS, f"{where}: unknown keyword in {sorted(schema)}"
    if "enum" in schema:
        assert value in schema["enum"], f"{where}: {value!r} is none of {schema['enum']}"
    if "type" in schema:
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        assert any(_is(kind, value) for kind in kinds), f"{where}: {value!r} is no {kinds}"
    if isinstance(value, list):
        for number, item in enumerate(value):
            _check(schema.get("items", {}), item, f"{where}[{number}]")
    if isinstance(value, dict):
        missing = set(schema.get("required", ())) - set(value)
        assert not missing, f"{where}: without {sorted(missing)}"
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        for key, item in value.items():
            assert key in known or others is not False, f"{where}: has {key!r}"
            _check(known.get(key, others), item, f"{where}.{key}")


def _is(kind: str, value: object) -> bool:
    # bool is an int to Python, not to JSON.
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
