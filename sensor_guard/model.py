"""The nouns: what a sensor says, what a rule finds, what a person does.

Everything here is immutable and holds ids only; names and telephone numbers live in the contacts file and are
joined where a text is rendered.

Time is an ``Instant``: whole milliseconds since 1970-01-01T00:00:00Z, and a ``Span``: whole milliseconds. Aware
datetimes would say the same; integers are exact, sort, serialise, add without a zone, and cost a tenth on the
way of a reading. They become ISO 8601 text at the edges (``clock.format_at``, ``clock.parse_at``).
"""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import NamedTuple, TypeAlias

Instant: TypeAlias = int
Span: TypeAlias = int

SECOND: Span = 1_000
MINUTE: Span = 60 * SECOND
HOUR: Span = 60 * MINUTE
DAY: Span = 24 * HOUR

ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
GATEWAY = "gateway"
"""The home_id of the box itself: its faults are alarms of this home. No real home may have this id."""


class Kind(StrEnum):
    """What a sensor is. The article's "current" is power, its "infrared" is motion."""

    DOOR = "door"
    SMOKE = "smoke"
    WATER = "water"
    POWER = "power"
    MOTION = "motion"
    PANIC = "panic"


class Quantity(StrEnum):
    """What a reading measures, with its unit in the name."""

    POWER_W = "power_w"
    ENERGY_WH = "energy_wh"  # counter or interval: the sensor's row says which
    VOLUME_L = "volume_l"  # likewise
    FLOW_L_MIN = "flow_l_min"
    DOOR_OPEN = "door_open"  # 1 = open
    SMOKE = "smoke"  # 1 = smoke
    MOTION = "motion"  # an edge: 1 = movement; 0 is a sign of life of the sensor only
    PANIC = "panic"  # an edge: 1 = pressed; 0 likewise
    BATTERY_PCT = "battery_pct"
    LINK = "link"  # 1 = the sensor is there (any message without another reading), 0 = its gateway says offline


@dataclass(frozen=True, slots=True)
class KindRow:
    """What the program knows of a kind of sensor: one row of the table ``KINDS``.

    ``observed_for``: how long after a message the sensor still counts as observed where nothing is configured
    (power and water meters 1 h; the rest 25 h, the limit after which Zigbee2MQTT calls a passive device offline).
    ``urgent``: goes over the connection of its own, raises without waiting for order, latches, is never muted.
    """

    kind: Kind
    quantities: tuple[Quantity, ...]
    observed_for: Span
    urgent: bool
    zh: str
    en: str
    aliases: tuple[str, ...] = ()


KINDS: dict[str, KindRow] = {
    row.kind: row
    for row in (
        KindRow(Kind.DOOR, (Quantity.DOOR_OPEN,), 25 * HOUR, urgent=False, zh="门磁", en="door"),
        KindRow(Kind.SMOKE, (Quantity.SMOKE,), 25 * HOUR, urgent=True, zh="烟感", en="smoke"),
        KindRow(Kind.WATER, (Quantity.FLOW_L_MIN, Quantity.VOLUME_L), HOUR, urgent=False, zh="水表", en="water"),
        KindRow(
            Kind.POWER,
            (Quantity.POWER_W, Quantity.ENERGY_WH),
            HOUR,
            urgent=False,
            zh="用电",
            en="power",
            aliases=("current", "electricity"),
        ),
        KindRow(
            Kind.MOTION,
            (Quantity.MOTION,),
            25 * HOUR,
            urgent=False,
            zh="红外",
            en="motion",
            aliases=("infrared", "pir"),
        ),
        KindRow(Kind.PANIC, (Quantity.PANIC,), 25 * HOUR, urgent=True, zh="紧急按钮", en="panic button"),
    )
}
KIND_OF_QUANTITY: dict[str, Kind] = {q: row.kind for row in KINDS.values() for q in row.quantities}

# Ranges that no real household sensor leaves. A value outside is quarantined as out_of_range, never clamped.
# 100 kW is three times a European three-phase connection; 200 l/min ten times an open tap; counters: 10 GWh, 1 Gl.
RANGES: dict[str, tuple[float, float]] = {
    Quantity.POWER_W: (-100_000.0, 100_000.0),
    Quantity.ENERGY_WH: (0.0, 1e10),
    Quantity.VOLUME_L: (0.0, 1e9),
    Quantity.FLOW_L_MIN: (0.0, 200.0),
    Quantity.DOOR_OPEN: (0.0, 1.0),
    Quantity.SMOKE: (0.0, 1.0),
    Quantity.MOTION: (0.0, 1.0),
    Quantity.PANIC: (0.0, 1.0),
    Quantity.BATTERY_PCT: (0.0, 100.0),
    Quantity.LINK: (0.0, 1.0),
}


class RejectReason(StrEnum):
    """Why a message went to quarantine. Log, counter, journal and test use these words."""

    TOO_LARGE = "too_large"
    BAD_TOPIC = "bad_topic"
    BAD_ID = "bad_id"
    UNKNOWN_SENSOR = "unknown_sensor"
    ID_MISMATCH = "id_mismatch"
    BAD_JSON = "bad_json"
    DUPLICATE_KEY = "duplicate_key"
    TOO_DEEP = "too_deep"
    NOT_AN_OBJECT = "not_an_object"
    BAD_VALUE = "bad_value"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    BAD_TIME = "bad_time"
    UNKNOWN_FIELD = "unknown_field"
    DECODER_FAILED = "decoder_failed"


class Message(NamedTuple):
    """One MQTT message as it came, not yet looked into.

    ``generation`` counts the connections of this process, so that an acknowledgement never reaches another
    connection's message; ``urgent`` says which of the two connections brought it.
    """

    topic: str
    payload: bytes
    qos: int
    retained: bool
    duplicate: bool
    packet_id: int
    generation: int
    received_at: Instant
    urgent: bool = False


# Flags of a reading, added up.
DEVICE_TIME = 1  # observed_at is the device's own time, so that a redelivered copy has the same key
BAD_DEVICE_CLOCK = 2  # the device sent a time that cannot be; observed_at is received_at
RETAINED = 4  # a level at best, never an edge, never activity


class Reading(NamedTuple):
    """One value of one sensor. ``seq`` is the device's own counter, -1 where it sends none."""

    home_id: str
    sensor_id: str
    quantity: str
    value: float
    observed_at: Instant
    received_at: Instant
    seq: int = -1
    flags: int = 0


# A NamedTuple's own __new__ is a function of Python's, which costs three times as much: where a million are made, these
# take all of the fields, in their order, as one tuple. Nobody counts them.
as_message = partial(tuple.__new__, Message)
as_reading = partial(tuple.__new__, Reading)


class Quarantined(NamedTuple):
    """A message that could not be read, kept with its reason. ``payload`` is cut at 4,096 bytes."""

    topic: str
    payload: bytes
    reason: str
    detail: str
    received_at: Instant


class Severity(StrEnum):
    """How much hurry. critical: life, now; warning: go and look; info: know; maintenance: repair."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"
    MAINTENANCE = "maintenance"


class Truth(StrEnum):
    """Three values, not two: no data is UNKNOWN, which is neither."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


class Response(StrEnum):
    """What people have done about an alarm. Only this moves the ladder."""

    UNANSWERED = "unanswered"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


class State(StrEnum):
    """An alarm in ISA-18.2's words, derived from condition and response."""

    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"  # no longer true, nobody has answered yet: still open
    CLOSED = "closed"


class AlarmOutcome(StrEnum):
    """How it ended, in the words a social worker chooses from."""

    HELPED = "helped"  # the resident needed help and has it
    FINE = "fine"  # somebody looked or spoke to the resident: all is well
    AWAY = "away"  # the resident was not at home
    FALSE_ALARM = "false_alarm"  # nothing behind it
    SENSOR_FAULT = "sensor_fault"  # a device was broken, or the battery empty
    REPAIRED = "repaired"  # a technical fault, mended
    TEST = "test"


@dataclass(frozen=True, slots=True)
class SensorEvidence:
    """What one sensor had said when the alarm rose: last value, when, and whether it could be seen."""

    sensor_id: str
    quantity: str
    value: float | None
    at: Instant | None
    observed: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why an alarm rose.

    ``since``: when the condition began; ``observed_for`` / ``blind_for``: how much of the time since then could
    be seen and how much could not; ``sensors``: what each sensor of the rule last said; ``count``: how often an
    edge came (presses of the button); ``test``: raised in test mode, nobody was texted.
    """

    since: Instant
    observed_for: Span
    blind_for: Span
    sensors: tuple[SensorEvidence, ...] = ()
    count: int = 1
    test: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that somebody must answer. ``alarm_id`` is ``<home>.<rule>.<raised_at as YYYYMMDDTHHMMSSZ>``."""

    alarm_id: str
    rule_id: str
    home_id: str
    severity: str
    condition: Truth
    response: Response
    raised_at: Instant  # when it became true
    noticed_at: Instant  # when the daemon could know it; the ladder counts from here
    evidence: Evidence
    acknowledged_at: Instant | None = None
    acknowledged_by: str | None = None
    cleared_at: Instant | None = None
    closed_at: Instant | None = None
    closed_by: str | None = None
    outcome: str | None = None

    @property
    def state(self) -> State:
        """The one word for condition and response together."""
        if self.response is Response.CLOSED:
            return State.CLOSED
        if self.response is Response.ACKNOWLEDGED:
            return State.ACKNOWLEDGED
        return State.CLEARED if self.condition is Truth.FALSE else State.ACTIVE


@dataclass(frozen=True, slots=True)
class Transition:
    """One step in the life of an alarm, for the append-only trail.

    ``field`` is condition, response or evidence; ``at`` is when it became true, not when it was noticed;
    ``reason`` a word such as raised, cleared, recurred, unseen, acknowledged, closed.
    """

    alarm_id: str
    field: str
    before: str
    after: str
    at: Instant
    reason: str
    actor_id: str | None = None
    note: str = ""


class NotificationKind(StrEnum):
    """Which text a person gets."""

    ALARM = "alarm"
    REMINDER = "reminder"  # the same alarm again: nobody has answered
    UNCLOSED = "unclosed"  # answered, and not closed for a long time
    STAND_DOWN = "stand_down"  # somebody else has answered
    CLOSED = "closed"  # how it ended
    DIGEST = "digest"  # several of the above in one, made by the outbox
    TEST = "test"  # notify test CONTACT


class NotificationState(StrEnum):
    """Where a text is. ``sending`` found at start is ``ambiguous``: the reply may have been lost."""

    PENDING = "pending"
    SENDING = "sending"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    FAILED = "failed"
    AMBIGUOUS = "ambiguous"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Notification:
    """One message to one person, as the engine asks for it and the outbox keeps it.

    ``params`` fill the template when it is rendered at sending; ids, numbers and words only. ``code`` is given by
    the journal when the row is written, and ``alarm_at`` (when its alarm rose); ``attempts``, ``receipt_id`` (the
    provider's id) and ``state`` move later.
    """

    notification_id: str  # <alarm_id>.<n>
    alarm_id: str
    home_id: str
    rule_id: str
    kind: str
    severity: str
    step: int
    recipient_id: str
    due_at: Instant
    params: tuple[tuple[str, str], ...] = ()
    code: str = ""
    channel: str = ""
    state: str = NotificationState.PENDING
    attempts: int = 0
    attempted_at: Instant | None = None
    receipt_id: str | None = None
    alarm_at: Instant = 0


class CommandKind(StrEnum):
    """What a person can tell the daemon to do."""

    ACKNOWLEDGE = "acknowledge"
    CLOSE = "close"
    AWAY = "away"
    BACK = "back"
    MUTE = "mute"
    UNMUTE = "unmute"
    TEST_MODE = "test_mode"
    NOTIFY_TEST = "notify_test"


@dataclass(frozen=True, slots=True)
class Command:
    """What a person asked for. ``target_id``: an alarm, a home, a rule or a contact, by ``kind``.

    ``until``: when away, mute and test mode end by themselves; ``home_id`` narrows a mute to one home.
    """

    command_id: str
    kind: str
    target_id: str
    actor_id: str
    at: Instant
    note: str = ""
    until: Instant | None = None
    outcome: str | None = None
    home_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What became of a notification. A failed one sends the ladder to the next person at once."""

    notification_id: str
    state: str
    at: Instant
    reason: str = ""
    receipt_id: str | None = None
    retry_at: Instant | None = None  # with state pending: not before


@dataclass(frozen=True, slots=True)
class LinkLost:
    """The connection to the broker is gone (or the daemon was): from ``at`` on nothing more is known."""

    at: Instant


@dataclass(frozen=True, slots=True)
class LinkUp:
    """Connected and subscribed. ``blind_from``: since when readings may have been missed for good, else None.

    None means that the broker kept our session and lived through the whole gap, so that whatever was
    published is in its queue and will come.
    """

    at: Instant
    session_present: bool
    blind_from: Instant | None = None


@dataclass(frozen=True, slots=True)
class Drained:
    """What waited in the broker has been handed over (our canary came back), or 60 s have passed."""

    at: Instant


@dataclass(frozen=True, slots=True)
class Fault:
    """A technical fault of the box begins or ends: broker_offline, session_lost, influxdb_offline, ..."""

    fault_id: str
    active: bool
    at: Instant
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ClockStepped:
    """The wall clock was set by ``offset`` ms: every stored instant moves with it."""

    at: Instant
    offset: Span


@dataclass(frozen=True, slots=True)
class ClockKnown:
    """Whether the wall clock can be believed; a box without a battery for its clock boots in 1970.

    Elapsed time counts either way. The hour of the day is UNKNOWN while it cannot be believed.
    """

    at: Instant
    known: bool


@dataclass(frozen=True, slots=True)
class PlanChanged:
    """Another configuration is in force. ``plan_hash`` names the stored plan."""

    plan_hash: str
    at: Instant


Input: TypeAlias = (
    Reading | Command | DeliveryReport | LinkLost | LinkUp | Drained | Fault | ClockStepped | ClockKnown | PlanChanged
)
"""Everything that can change a decision. Each one is in the journal before it counts."""


@dataclass(slots=True)
class Effects:
    """What a feed caused, to be written in the same transaction as what was fed.

    ``alarms``: the new state of each alarm that changed; ``cancelled``: notification ids that need not be sent
    any more if they still wait; ``refused``: (command_id, why) for commands that cannot be carried out.
    """

    transitions: list[Transition] = field(default_factory=list)
    alarms: dict[str, Alarm] = field(default_factory=dict)
    notifications: list[Notification] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    changed: bool = False

    def __bool__(self) -> bool:
        return bool(self.transitions or self.notifications or self.cancelled or self.changed)
