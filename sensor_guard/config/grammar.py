"""A rule file's models: what may be written, before it is asked what it means.

``docs/rules.schema.json`` is made of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from sensor_guard.config.homes import KIND_WORDS
from sensor_guard.config.shape import Between, Id, Strict, did_you_mean, listed
from sensor_guard.config.units import THRESHOLD_PATTERN, WINDOW_PATTERN, parse_threshold, parse_window, shown
from sensor_guard.model import KINDS, Quantity, Span

ANY = "any"
StateWord: TypeAlias = Literal["detected", "pressed", "open", "quiet", "active", "silent"]
SeverityWord: TypeAlias = Literal["critical", "warning", "info", "maintenance"]
QuantityWord: TypeAlias = Literal[
    "power_w", "energy_wh", "volume_l", "flow_l_min", "door_open", "smoke", "motion", "panic", "battery_pct", "link"
]
AlarmState: TypeAlias = Literal["active", "acknowledged", "cleared", "closed"]


@dataclass(frozen=True, slots=True)
class _Text:
    """The type of a text that ``read`` turns into a value; ``pattern`` is for editors."""

    read: Callable[[object], object]
    pattern: str
    example: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": self.pattern, "examples": [self.example]}


def _kind(value: object) -> str:
    if value == ANY:
        return ANY
    if isinstance(value, str) and value.lower() in KIND_WORDS:
        return KIND_WORDS[value.lower()]
    near = did_you_mean(value, (*KIND_WORDS, ANY)) if isinstance(value, str) else ""
    raise ValueError(f"write {listed((*KINDS, ANY))}, not {shown(value)}{near}")


def _message(value: object) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    hint = ' (a text that starts with { needs quotes: "{home} ...")' if isinstance(value, dict) else ""
    raise ValueError(f"write a text in quotes, not {shown(value)}{hint}")


KindWord = Annotated[str, BeforeValidator(_kind), WithJsonSchema({"enum": [*KIND_WORDS, ANY]})]
Threshold = Annotated[tuple[float, Quantity], _Text(parse_threshold, THRESHOLD_PATTERN, "5 W")]
Window = Annotated[tuple[int, int], _Text(parse_window, WINDOW_PATTERN, "22:00-06:00")]
Hold = Annotated[Span, Between("0s", "30d")]
Moment = Annotated[Span, Between("0s", "366d")]
Text = Annotated[str, BeforeValidator(_message), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 200})]


class Texts(Strict):
    """The same in Chinese and English; one of them is enough."""

    zh: Text | None = None
    en: Text | None = None

    def by_language(self) -> tuple[tuple[str, str], ...]:
        """Give (language, text) for each language that is there."""
        return tuple((name, text) for name, text in (("zh", self.zh), ("en", self.en)) if text is not None)


class When(Strict):
    """What is watched for: sensors of one kind, and below, above or is."""

    kind: KindWord = Field(examples=["power"])
    below: Threshold | None = None
    above: Threshold | None = None
    is_: StateWord | None = Field(default=None, alias="is")
    quantity: QuantityWord | None = None
    hold_for: Hold | None = Field(default=None, alias="for")
    between: Window | None = None


class Unless(Strict):
    """When the rule rests."""

    home: Literal["away"] = Field(examples=["away"])


class RuleEntry(Strict):
    """One rule."""

    id: Id = Field(examples=["electricity_low"])
    name: Texts = Field(examples=["{zh: 用电过低, en: Electricity low}"])
    when: When = Field(examples=["{kind: power, below: 5 W, for: 12h}"])
    unless: Unless | None = None
    severity: SeverityWord = Field(examples=["warning"])
    ladder: Id = Field(examples=["welfare"])
    latched: bool | None = None
    message: Texts = Field(examples=['{zh: "{home} 用电低于5W已{held}，请上门查看"}'])


class GivenEntry(Strict):
    """At ``at`` a sensor says something (quantity: value), or the home goes away or comes back."""

    at: Moment = Field(examples=['"0h"'])
    every: Annotated[Span, Between("1s", "30d")] | None = None
    until: Moment | None = None
    sensor: Id | None = None
    away: bool | None = None
    # The quantities of the model.
    power_w: float | None = None
    energy_wh: float | None = None
    volume_l: float | None = None
    flow_l_min: float | None = None
    door_open: float | None = None
    smoke: float | None = None
    motion: float | None = None
    panic: float | None = None
    battery_pct: float | None = None
    link: float | None = None

    def values(self) -> dict[Quantity, float]:
        """Give what the sensor says."""
        return {quantity: value for quantity in Quantity if (value := getattr(self, quantity)) is not None}


class ThenEntry(Strict):
    """At ``at`` the rule's open alarms are in these states; [] means that there is none."""

    at: Moment = Field(examples=['"12h"'])
    alarms: Annotated[tuple[AlarmState, ...], Field(strict=False)] = Field(examples=["[active]"])


class CaseSensorEntry(Strict):
    """A sensor of the test's home; without ``sensors`` there is one of each kind that ``given`` speaks of."""

    id: Id = Field(examples=["p1"])
    kind: KindWord = Field(examples=["power"])
    expect_every: str = ""
    meter: Literal["", "counter", "interval"] = ""
    interval: str = ""


class CaseEntry(Strict):
    """Given readings, then alarms."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(examples=["a quiet half-day is an alarm"])
    rule: Id = Field(examples=["electricity_low"])
    start: str | None = None
    timezone: str | None = None
    sensors: Annotated[tuple[CaseSensorEntry, ...], Field(strict=False)] = ()
    given: Annotated[tuple[GivenEntry, ...], Field(min_length=1, strict=False)] = Field(
        examples=['[{at: "0h", power_w: 3}]']
    )
    then: Annotated[tuple[ThenEntry, ...], Field(min_length=1, strict=False)] = Field(
        examples=['[{at: "12h", alarms: [active]}]']
    )


class RuleFile(Strict):
    """A file of rules and of the tests that show what they do."""

    rules: tuple[RuleEntry, ...] = Field(default=(), strict=False)
    tests: tuple[CaseEntry, ...] = Field(default=(), strict=False)
