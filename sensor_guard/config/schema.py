"""The JSON Schema of rule files, made of the models that read them, so that an editor says what ``check`` says."""

import json

from sensor_guard.config.grammar import RuleFile


def rules_schema() -> dict[str, object]:
    """Give the JSON Schema (2020-12) of a rule file."""
    schema = _plain(RuleFile.model_json_schema(by_alias=True))
    assert isinstance(schema, dict)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sensor_guard rules",
        **schema,
    }


def schema_text() -> str:
    """Write the schema as ``docs/rules.schema.json`` holds it."""
    return json.dumps(rules_schema(), indent=2, ensure_ascii=False) + "\n"


def _plain(part: object) -> object:
    """Take out what helps no author: titles made of field names, examples of blocks, "or null" (no key is empty)."""
    if isinstance(part, list):
        return [_plain(entry) for entry in part]
    if not isinstance(part, dict):
        return part
    kept = {
        key: _plain(value)
        for key, value in part.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and value is None)
    }
    examples = kept.pop("examples", None)
    if kept.get("type") == "string" and isinstance(examples, list):
        kept["examples"] = [str(example).strip('"') for example in examples]
    choices = kept.get("anyOf")
    if isinstance(choices, list):
        rest = [choice for choice in choices if choice != {"type": "null"}]
        if len(rest) == 1 and isinstance(rest[0], dict):
            del kept["anyOf"]
            kept = {**{str(key): value for key, value in rest[0].items()}, **kept}
    return kept
