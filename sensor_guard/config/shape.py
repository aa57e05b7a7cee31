"""Strict models, and pydantic's complaints in the words of our users.

``validated`` checks data against a model and tells every fault where it stands, with the way out.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from sensor_guard.config.source import Document, Way
from sensor_guard.config.units import SPAN_PATTERN, parse_span, shown, write_span
from sensor_guard.errors import Problem
from sensor_guard.model import ID_PATTERN, Span

M = TypeVar("M", bound="Strict")
_ID = re.compile(ID_PATTERN)


class Strict(BaseModel):
    """What every model of a file is: nothing unknown, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, populate_by_name=False, hide_input_in_errors=True
    )


def checked_id(value: object) -> str:
    """Check an id.

    Raises:
        ValueError: with the way out.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(f"put the id in quotes, so that it stays as it is: '{value}'")  # noqa: TRY004 - pydantic's
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise ValueError(
        f"{shown(value)} is not an id; use 1 to 64 of the letters A-Z a-z, the digits, - and _ "
        "(other names belong in name or label)"
    )


@dataclass(frozen=True, slots=True)
class Between:
    """The type of a span from ``low`` to ``high``, both included: ``Annotated[int, Between("1m", "30d")]``."""

    low: str
    high: str

    def check(self, value: object) -> Span:
        """Read the span.

        Raises:
            ValueError: not a span, or outside; with the way out.
        """
        span = parse_span(value)
        if not parse_span(self.low) <= span <= parse_span(self.high):
            raise ValueError(f"{write_span(span)} is outside {self.low} to {self.high}; write a duration between them")
        return span

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": SPAN_PATTERN, "description": f"{self.low} to {self.high}"}


Id = Annotated[str, BeforeValidator(checked_id), WithJsonSchema({"type": "string", "pattern": ID_PATTERN})]


def validated(
    model: type[M],
    document: Document,
    way: Way,
    problems: list[Problem],
    *,
    context: Mapping[str, object] | None = None,
) -> M | None:
    """Check the value at ``way`` against ``model``; None if it does not fit, and why goes to ``problems``."""
    try:
        return model.model_validate(document.at(way), context=dict(context or {}))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=True)
        problems.extend(_problem(model, document, way, details) for details in found if not _is_echo(details))
        return None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the known word that is nearest: "; did you mean 'severity'?", or "" where none is near."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def listed(words: Iterable[str], *, limit: int = 12) -> str:
    """List words for a message: "a, b or c"; at most ``limit``."""
    shown_words = list(words)
    rest = len(shown_words) - limit
    if rest > 0:
        return ", ".join(shown_words[:limit]) + f" and {rest} more"
    return " or ".join(filter(None, [", ".join(shown_words[:-1]), shown_words[-1] if shown_words else ""]))


def _is_echo(details: ErrorDetails) -> bool:
    """Say whether the same is told already.

    A list is called too short when an entry of it was refused; a value that is not there, and half a character, are
    told by ``source``.
    """
    if details["type"] == "too_short":
        return bool(details["input"])
    if details["type"] == "string_unicode":
        return True
    return details["input"] is None and bool(details["loc"]) and details["type"] not in {"missing", "extra_forbidden"}


def _problem(model: type[BaseModel], document: Document, way: Way, details: ErrorDetails) -> Problem:
    loc = tuple(step for step in details["loc"] if isinstance(step, (str, int)))
    loc = _without_union_tags(document, way, loc, missing=details["type"] == "missing")
    full = way + loc
    if details["loc"] and details["loc"][-1] == "[key]":
        return document.problem(full, _said(details, model, loc), at_key=True)
    key = str(loc[-1]) if loc else ""
    match details["type"]:
        case "extra_forbidden":
            owner = _model_at(model, loc[:-1])
            return document.problem(full, _unknown_key(key, owner), at_key=True)
        case "missing":
            owner = _model_at(model, loc[:-1])
            place = document.place(full[:-1])
            message = f"missing; {_example(key, owner)}"
            return Problem(document.file, *place, ".".join(map(str, full)), message)
        case _:
            return document.problem(full, _said(details, model, loc))


def _unknown_key(key: str, owner: type[BaseModel] | None) -> str:
    if re.search(r"password|token|secret", key, re.IGNORECASE):
        return (
            "secrets do not belong here; put it into a file named mqtt_password, twilio_auth_token or influxdb_token "
            "that SENSOR_GUARD_<NAME>_FILE names (or a systemd credential)"
        )
    known = _keys_of(owner)
    return f"unknown key{did_you_mean(key, known) or f'; the keys here are {listed(known, limit=20)}'}"


def _example(key: str, owner: type[BaseModel] | None) -> str:
    field = _field(owner, key)
    example = field.examples[0] if field is not None and field.examples else None
    return f"add {key}: {example}" if example is not None else f"add {key}"


# What pydantic calls it, and what we say. {value} is what stands there; the rest is pydantic's context.
_SAID = {
    "list_type": "write a list here, each entry after a dash or in [ ], not {value}",
    "tuple_type": "write a list here, each entry after a dash or in [ ], not {value}",
    "string_type": "write a text here, in quotes, not {value}",
    "bool_type": "write true or false, not {value}",
    "int_type": "write a whole number, not {value}",
    "int_from_float": "write a whole number, not {value}",
    "float_type": "write a number, not {value}",
    "finite_number": "write a number, not {value}",
    "too_short": "is empty; write at least one entry",
    "string_too_short": "is empty; write a text",
    "string_too_long": "is longer than {max_length} characters; shorten it",
    "greater_than_equal": "{value} is out of range; write at least {ge}",
    "greater_than": "{value} is out of range; write more than {gt}",
    "less_than_equal": "{value} is out of range; write at most {le}",
    "less_than": "{value} is out of range; write less than {lt}",
}


def _said(details: ErrorDetails, model: type[BaseModel], loc: Way) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind in _SAID:
        return _SAID[kind].format(value=shown(value), **context)
    if kind == "value_error":
        return str(context["error"])
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        inside = _model_at(model, loc)
        keys = f" ({listed(_keys_of(inside), limit=20)})" if inside is not None else ""
        return f"write a block of keys here{keys}, not {shown(value)}"
    if kind in {"literal_error", "enum"}:
        choices = [choice.strip("'") for choice in re.split(r", | or ", str(context["expected"]))]
        near = did_you_mean(value, choices) if isinstance(value, str) else ""
        return f"write {listed(choices)}, not {shown(value)}{near}"
    return f"{details['msg'][:1].lower()}{details['msg'][1:]}, not {shown(value)}"


def _without_union_tags(document: Document, way: Way, loc: Way, *, missing: bool) -> Way:
    """Drop the names that pydantic puts between keys for the branches of a union."""
    kept: Way = ()
    for index, step in enumerate(loc):
        if (*way, *kept, step) in document.values or (missing and index == len(loc) - 1):
            kept = (*kept, step)
    return kept


def _model_at(model: type[BaseModel] | None, loc: Way) -> type[BaseModel] | None:
    """Find the model that a way into the data ends at."""
    here: Any = model
    for step in loc:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = _field(here, str(step))
            here = field.annotation if field is not None else None
        else:
            arguments = [kind for kind in get_args(_bare(here)) if kind is not Ellipsis]
            here = arguments[-1] if arguments else None
        here = _bare(here)
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _bare(annotation: Any) -> Any:  # noqa: ANN401 - a type of any form
    """Take Annotated and "or None" off a type."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, UnionType):
            kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
            annotation = next((kind for kind in kinds if _is_model(kind)), kinds[0])
        else:
            return annotation


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _field(model: type[BaseModel] | None, key: str) -> FieldInfo | None:
    if model is None:
        return None
    return next((field for name, field in model.model_fields.items() if (field.alias or name) == key), None)


def _keys_of(model: type[BaseModel] | None) -> list[str]:
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]
