"""As much of JSON Schema as the schema of rule files uses; a keyword beyond that fails the test that meets it."""

import re

_NOTES = {"$schema", "$defs", "title", "description", "examples", "default"}
_TYPES = {"string": str, "object": dict, "array": list, "boolean": bool, "number": (int, float)}


def faults_by_schema(schema, value, way=(), root=None):
    root = root or schema
    here = ".".join(map(str, way))
    faults = []
    for keyword, rule in schema.items():
        if keyword in _NOTES:
            continue
        check = _CHECKS[keyword]
        faults += check(rule, value, way, root, schema, here)
    return faults


def _ref(rule, value, way, root, schema, here):
    return faults_by_schema(root["$defs"][rule.removeprefix("#/$defs/")], value, way, root)


def _type(rule, value, way, root, schema, here):
    right = isinstance(value, _TYPES[rule]) and (rule == "boolean" or not isinstance(value, bool))
    return [] if right else [f"{here}: not a {rule}"]


def _properties(rule, value, way, root, schema, here):
    if not isinstance(value, dict):
        return []
    return [
        fault for key in value if key in rule for fault in faults_by_schema(rule[key], value[key], (*way, key), root)
    ]


def _additional(rule, value, way, root, schema, here):
    assert rule is False
    known = schema["properties"]
    return [f"{here}: unknown key {key}" for key in value if key not in known] if isinstance(value, dict) else []


def _required(rule, value, way, root, schema, here):
    return [f"{here}: {key} is missing" for key in rule if isinstance(value, dict) and key not in value]


def _items(rule, value, way, root, schema, here):
    if not isinstance(value, list):
        return []
    return [fault for place, entry in enumerate(value) for fault in faults_by_schema(rule, entry, (*way, place), root)]


def _pattern(rule, value, way, root, schema, here):
    return [] if not isinstance(value, str) or re.search(rule, value) else [f"{here}: does not match {rule}"]


def _enum(rule, value, way, root, schema, here):
    return [] if value in rule else [f"{here}: not one of {rule}"]


def _const(rule, value, way, root, schema, here):
    return [] if value == rule else [f"{here}: not {rule}"]


def _least(rule, value, way, root, schema, here):
    return [] if not isinstance(value, (str, list)) or len(value) >= rule else [f"{here}: shorter than {rule}"]


def _most(rule, value, way, root, schema, here):
    return [] if not isinstance(value, (str, list)) or len(value) <= rule else [f"{here}: longer than {rule}"]


_CHECKS = {
    "$ref": _ref,
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": _required,
    "items": _items,
    "pattern": _pattern,
    "enum": _enum,
    "const": _const,
    "minLength": _least,
    "maxLength": _most,
    "minItems": _least,
    "maxItems": _most,
}
