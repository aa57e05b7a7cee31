"""The plan: configuration as the engine wants it. ``config`` compiles the operator's files into it.

Ids only, immutable, comparable; its canonical JSON form (``config.canonical``) is kept in the journal, so that a
replay runs with the rules that were in force.
"""

from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from enum import StrEnum

from sensor_guard.model import Quantity, Severity, Span


class Form(StrEnum):
    """What a condition asks of the sensors of its kind in a home.

    BELOW  every sensor below the threshold (one at or above it is FALSE)
    ABOVE  any sensor above the threshold
    IS     any sensor says 1: smoke detected, panic pressed, door open
    QUIET  no activity (movement, water flowing, a door moved); activity starts the hold again
    ACTIVE any sensor active (water running)
    SILENT any sensor unheard for longer than it is observed for
    FAULT  the box itself reports the fault whose id is the rule's id
    """

    BELOW = "below"
    ABOVE = "above"
    IS = "is"
    QUIET = "quiet"
    ACTIVE = "active"
    SILENT = "silent"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Condition:
    """``kind`` None: every kind of sensor. ``quantity`` None: the kind's own.

    ``threshold`` in the quantity's unit. ``between``: (from, to) in minutes after local midnight, half open; from
    may be later than to (22:00-06:00 is (1320, 360)); outside it the condition is FALSE.
    """

    form: Form
    kind: str | None = None
    quantity: str | None = None
    threshold: float = 0.0
    hold_for: Span = 0
    between: tuple[int, int] | None = None

    @property
    def follows_level(self) -> bool:
        """Say whether it asks what sensors show, or else only for their silence or battery."""
        return self.form is not Form.SILENT and self.quantity != Quantity.BATTERY_PCT


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing to watch for in every home that has a sensor of its kind.

    ``latched``: its condition never clears by itself. ``mutable``: whether ``mute`` may silence it (never smoke or
    panic). ``unless_away``: suspended, and started afresh, while the home is away. ``names`` and ``messages`` by
    language (zh, en), as tuples so that a plan stays immutable.
    """

    rule_id: str
    condition: Condition
    severity: Severity
    ladder: str
    latched: bool = False
    mutable: bool = True
    unless_away: bool = False
    names: tuple[tuple[str, str], ...] = ()
    messages: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Sensor:
    """One device in a home. ``observed_for``: how long a message keeps it observed (2 x expect_every).

    ``meter``: for energy_wh and volume_l, "counter" (a running total) or "interval" (what was used since the last
    reading; ``interval`` says how long that is, None: the time between the two readings).
    """

    sensor_id: str
    kind: str
    observed_for: Span
    meter: str = "counter"
    interval: Span | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """After ``after`` ms without an answer, these people are told as well."""

    after: Span
    recipient_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ladder:
    """Who is told, when, until somebody answers; already resolved to the people of one home.

    ``repeat_every``: after the last step everybody is told again at this interval, until somebody answers.
    ``remind_unclosed``: an answered alarm that nobody closes comes back after this long.
    """

    steps: tuple[Step, ...]
    repeat_every: Span
    remind_unclosed: Span


@dataclass(frozen=True, slots=True)
class HomePlan:
    """One home: its sensors, and for each ladder's name the people of this home.

    ``muted_rules``: rules switched off for this home by the operator's files.
    """

    home_id: str
    site_id: str
    building_id: str
    sensors: tuple[Sensor, ...]
    ladders: tuple[tuple[str, Ladder], ...]
    muted_rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the engine needs to know about the world. ``homes`` includes the gateway's own (``GATEWAY``).

    ``lateness``: how long a reading may be under way and still be put in its true order (urgent kinds never
    wait for it).
    """

    rules: tuple[Rule, ...]
    homes: tuple[HomePlan, ...]
    lateness: Span = 5_000
    zone: tzinfo = field(default=UTC, compare=False)
    zone_name: str = "UTC"
