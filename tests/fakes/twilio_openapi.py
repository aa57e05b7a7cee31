"""What Twilio's own OpenAPI says about the few resources that the stand-in offers, and checks made from it.

The repository carries an excerpt (``twilio_openapi.json``, see ``TWILIO_OPENAPI.md``). Where the whole document is at
hand, a test compares the two; ``python -m tests.fakes.twilio_openapi FILE`` writes the excerpt anew.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

EXCERPT = Path(__file__).with_name("twilio_openapi.json")
ACCOUNT = "/2010-04-01/Accounts/{AccountSid}"
OPERATIONS = {
    f"{ACCOUNT}/Messages.json": ("get", "post"),
    f"{ACCOUNT}/Messages/{{Sid}}.json": ("get",),
    f"{ACCOUNT}/Balance.json": ("get",),
}
_NOISE = {"description", "summary", "examples", "example", "x-twilio", "tags", "headers", "servers"}
_FORM = "application/x-www-form-urlencoded"
E164 = re.compile(r"\+[1-9][0-9]{6,14}")


def whole_document() -> Path | None:
    """Give Twilio's whole OpenAPI: the file SENSOR_GUARD_OPENAPI, or beside the checkout; None where there is none."""
    named = os.environ.get("SENSOR_GUARD_OPENAPI")
    if named:
        return Path(named)
    beside = Path(__file__).parents[3] / "shared" / "openapi" / "twilio_api_v2010.json"
    return beside if beside.is_file() else None


def load(path: Path = EXCERPT) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def excerpt(document: dict[str, Any]) -> dict[str, Any]:
    """Cut the operations that matter, and the schemas that they name, out of the document; without its prose."""
    paths = {
        path: _bare({method: document["paths"][path][method] for method in methods})
        for path, methods in OPERATIONS.items()
    }
    schemas: dict[str, Any] = {}
    waiting = [paths]
    while waiting:
        for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(waiting.pop())):
            if name not in schemas:
                schemas[name] = _bare(document["components"]["schemas"][name])
                waiting.append(schemas[name])
    return {"openapi": document["openapi"], "paths": paths, "components": {"schemas": dict(sorted(schemas.items()))}}


def _bare(node: Any) -> Any:
    if isinstance(node, list):
        return [_bare(one) for one in node]
    if not isinstance(node, dict):
        return node
    # Below "properties" the keys are names of fields, and one of them may be called like a piece of prose.
    return {
        key: {name: _bare(one) for name, one in value.items()} if key == "properties" else _bare(value)
        for key, value in node.items()
        if key not in _NOISE
    }


class Spec:
    """The document as the stand-in asks it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._messages = document["paths"][f"{ACCOUNT}/Messages.json"]

    def create_fields(self) -> dict[str, dict[str, Any]]:
        """Give the form fields of a POST with their schemas."""
        return self._form()["properties"]

    def create_required(self) -> list[str]:
        return self._form()["required"]

    def list_fields(self) -> dict[str, dict[str, Any]]:
        """Give the query fields of the list with their schemas."""
        return {one["name"]: one["schema"] for one in self._messages["get"]["parameters"] if one["in"] == "query"}

    def list_answer(self) -> set[str]:
        schema = self._messages["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        return set(schema["properties"])

    def message_fields(self) -> dict[str, dict[str, Any]]:
        return self._schema("api.v2010.account.message")["properties"]

    def balance_fields(self) -> dict[str, dict[str, Any]]:
        return self._schema("api.v2010.account.balance")["properties"]

    def fault_of(self, value: object, schema: dict[str, Any]) -> str | None:
        """Say what is wrong with a value, None where nothing is. Text stands for a number where it is a form's."""
        if "$ref" in schema:
            schema = self._schema(schema["$ref"].rpartition("/")[2])
        if value is None:
            return None if schema.get("nullable") else "is null"
        text = str(value)
        if "enum" in schema and text not in schema["enum"]:
            return f"is not one of {schema['enum']}"
        if schema["type"] == "integer" and not re.fullmatch(r"-?[0-9]+", text):
            return "is not an integer"
        if schema["type"] == "integer" and not schema.get("minimum", -(1 << 62)) <= int(text) <= schema.get(
            "maximum", 1 << 62
        ):
            return "is out of range"
        if schema["type"] == "boolean" and text.lower() not in ("true", "false"):
            return "is not true or false"
        if "pattern" in schema and not re.fullmatch(schema["pattern"], text):
            return f"does not match {schema['pattern']}"
        return None

    def _form(self) -> dict[str, Any]:
        return self._messages["post"]["requestBody"]["content"][_FORM]["schema"]

    def _schema(self, name: str) -> dict[str, Any]:
        return self._document["components"]["schemas"][name]


if __name__ == "__main__":
    cut = excerpt(load(Path(sys.argv[1])))
    EXCERPT.write_text(json.dumps(cut, indent=1, sort_keys=True) + "\n", encoding="utf-8")
