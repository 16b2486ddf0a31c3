"""What types the values of a suite and of a recipe have, as JSON schemas; names are checked where they are read."""

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

WORDS = {"type": ["string", "array"], "items": {"type": "string"}, "minItems": 1}
COUNT = {"type": "integer", "minimum": 1}
SHARE = {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}

SUITE: Mapping[str, Any] = {
    "properties": {"title": {"type": "string"}, "methods": {"type": "string"}, "settings": {"type": "array"}}
}
TUNING: Mapping[str, Any] = {
    "type": "object",
    "properties": {**dict.fromkeys(("draws", "models", "retrained"), COUNT), "draw": {"type": "integer", "minimum": 0}},
}
SETTING: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("problem", "request", "methods"), WORDS),
        **dict.fromkeys(("originals", "retrained", "others"), COUNT),
        "records": {"type": ["integer", "array"], "items": COUNT, "minItems": 1},
        "share": {**SHARE, "type": ["number", "array"], "items": SHARE, "minItems": 1},
        "draw": {"type": "integer", "minimum": 0},
        "tuned": {"type": "boolean"},
    },
}
RECIPE: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "published": {"type": "object"},
        "evidence": {"type": "boolean"},
        "note": {"type": "string"},
        "space": {
            "type": "object",
            "additionalProperties": {
                "type": "array",
                "items": {"type": "number", "exclusiveMinimum": 0},
                "minItems": 2,
                "maxItems": 2,
            },
        },
    },
}


def schema_problems(value: Any, schema: Mapping[str, Any], where: str) -> list[str]:
    """What is wrong with the types and ranges in a table, one sentence each, with the place of the value."""
    errors = sorted(Draft202012Validator(schema).iter_errors(value), key=lambda e: [str(p) for p in e.absolute_path])
    return [f"{'.'.join([where, *map(str, e.absolute_path)])}: {e.message}" for e in errors]
