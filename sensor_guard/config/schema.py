"""The JSON Schema of rule files, made of the models that read them, so that an editor says what ``check`` says."""

import json

from sensor_guard.config.grammar import RuleFile


def rules_schema() -> dict[str, object]:
    """Give the JSON Schema (2020-12) of a rule file."""
    schema: dict[str, object] = RuleFile.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sensor_guard rules",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def schema_text() -> str:
    """Write the schema as ``docs/rules.schema.json`` holds it."""
    return json.dumps(rules_schema(), indent=2, ensure_ascii=False, sort_keys=False) + "\n"
