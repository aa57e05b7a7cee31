"""What the sensors of a home say, and for how long: sensor states and watches.

A ``Watch`` is one rule in one home, or for one of its sensors where each has a hold of its own. It holds the
three-valued predicate of the moment (TRUE, FALSE, UNKNOWN) and the hold: the time during which the predicate was seen
to be TRUE. UNKNOWN pauses a hold: it neither counts nor resets.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache

from sensor_guard.engine.plan import Condition, Form, Rule, Sensor
from sensor_guard.model import (
    DAY,
    HOUR,
    KINDS,
    MINUTE,
    Evidence,
    Instant,
    Kind,
    Quantity,
    SensorEvidence,
    Span,
    Truth,
)

FAR: Instant = 1 << 60
"""Later than anything: "no deadline"."""

REARM_FOR: Span = DAY
"""A condition without a hold of its own (battery, silence) that is still true after closing rises again after this."""

LIMITLESS = float("inf")

BATTERY_MARGIN = 5.0
"""Percent points: a low battery is well again only this far above the limit; cells recover a little in warmth."""

TRUE, FALSE, UNKNOWN = Truth.TRUE, Truth.FALSE, Truth.UNKNOWN

EACH_SENSOR = {Form.ABOVE, Form.ACTIVE, Form.IS}
"""Forms of which each sensor has a watch, and so a hold, of its own (signals apart)."""

_METERS = (Kind.POWER, Kind.WATER)
LEVELS = frozenset(map(str, (Quantity.POWER_W, Quantity.FLOW_L_MIN, Quantity.DOOR_OPEN, Quantity.SMOKE)))
"""Quantities whose value is what the sensor shows until it says otherwise."""
METERED = frozenset(map(str, (Quantity.ENERGY_WH, Quantity.VOLUME_L)))
"""Quantities from which power or flow is worked out."""
MOTION = str(Quantity.MOTION)
FLOWING = frozenset(map(str, (Quantity.MOTION, Quantity.FLOW_L_MIN)))
"""Quantities that tell of somebody whenever they are not 0."""
URGENT = frozenset(map(str, (Quantity.SMOKE, Quantity.PANIC)))
"""Quantities that count on arrival."""


class SensorState:
    """What is known of one device.

    ``level``: last value of what it measures (watts; l/min; 1 open or smoke), None where nothing valid is known;
    ``fresh_until``: until when the level speaks for the present; ``silent_at``: when it counts as silent.
    ``calm_from``, ``calm_to``: while the level stays between the two, no watch of this sensor sees another truth.
    """

    __slots__ = (
        "battery",
        "calm_from",
        "calm_to",
        "fresh_until",
        "heard_at",
        "is_meter",
        "is_silent",
        "level",
        "level_at",
        "meter_at",
        "meter_value",
        "observed",
        "sensor",
        "silent_at",
        "watches",
    )

    def __init__(self, sensor: Sensor, known_since: Instant) -> None:
        self.sensor = sensor
        self.is_meter = sensor.kind in _METERS
        self.level: float | None = None
        self.level_at: Instant | None = None
        self.heard_at: Instant | None = None
        self.fresh_until: Instant = 0
        self.observed = False
        # Silence since installation is a fault too: the roster starts the clock, not the first message.
        self.silent_at: Instant = known_since + sensor.observed_for
        self.is_silent = False
        self.battery: float | None = None
        self.meter_value: float | None = None
        self.meter_at: Instant | None = None
        self.watches: tuple[Watch, ...] = ()
        self.calm_from = self.calm_to = 0.0

    def settle(self) -> None:
        """Find between which levels nothing changes for any watch: the nearest thresholds below and above."""
        level = self.level
        calm_from, calm_to = -LIMITLESS, LIMITLESS
        for watch in self.watches:
            threshold = watch.rule.condition.threshold
            if level is None or level == threshold:  # on the line: below it and above it are both something else
                calm_from = calm_to = threshold
                break
            if threshold < level:
                if threshold > calm_from:  # noqa: PLR1730 - cheaper than max(), at every tap that is opened
                    calm_from = threshold
            elif threshold < calm_to:
                calm_to = threshold
        self.calm_from, self.calm_to = calm_from, calm_to

    def hear(self, at: Instant) -> None:
        """Any message is a sign of life; of a meter it says nothing about the meter's level."""
        self.heard_at = at
        self.silent_at = at + self.sensor.observed_for
        self.is_silent = False
        if not self.is_meter:
            self.fresh_until = self.silent_at
            self.observed = True

    def smell(self, level: float, at: Instant) -> None:
        """Take a smoke detector's level as it arrives, before its place in the home's time, unless a newer is known."""
        if self.level_at is None or at >= self.level_at:
            self.level = level
            self.level_at = at

    def see(self, level: float, at: Instant) -> None:
        """Take a new level that speaks for the present; one that smoke overtook on arrival only counts as heard."""
        if self.level_at is None or at >= self.level_at:
            self.level = level
            self.level_at = at
        self.fresh_until = at + self.sensor.observed_for
        self.observed = True

    def says_nothing_new(self, quantity: str, value: float, at: Instant) -> bool:
        """Take a word of a sensor that is observed and shows what it has shown: nine of ten. False: not one of them.

        Then nothing turns, and whatever waits for this sensor waits longer: no deadline comes nearer.
        """
        if not self.observed or self.is_silent:
            return False
        if quantity in LEVELS:
            if value != self.level and not self.calm_from < value < self.calm_to:
                return False
            if self.level_at is None or at >= self.level_at:
                self.level = value
                self.level_at = at
        elif quantity != MOTION or self.is_meter:
            return False
        self.heard_at = at
        self.silent_at = self.fresh_until = at + self.sensor.observed_for
        return True

    def learn(self, quantity: str, value: float, at: Instant) -> None:
        """Take a late word that is the newest all the same; the caller knows that it still speaks for the present."""
        fresh_until = max(self.fresh_until, at + self.sensor.observed_for)
        if quantity in LEVELS:
            self.see(value, at)
        elif quantity in METERED:
            level = self.metered(quantity, value, at)
            if level is None:
                return
            self.see(level, at)
        elif self.is_meter:
            return
        self.observed = True
        self.fresh_until = fresh_until

    def metered(self, quantity: str, value: float, at: Instant) -> float | None:
        """Turn a meter's energy (Wh) or volume (l) into mean power (W) or flow (l/min); None: cannot say yet.

        A counter that falls was reset or replaced: it starts afresh and says nothing until its next reading.
        """
        per = HOUR if quantity == Quantity.ENERGY_WH else MINUTE
        before, before_at = self.meter_value, self.meter_at
        self.meter_value, self.meter_at = value, at
        if self.sensor.meter == "interval":
            span = self.sensor.interval or (at - before_at if before_at is not None else 0)
            return value * per / span if span > 0 else None
        if before is None or before_at is None or value < before or at <= before_at:
            return None
        return (value - before) * per / (at - before_at)

    def evidence(self, quantity: str | None) -> SensorEvidence:
        """Say what this sensor last said, for an alarm's evidence."""
        if quantity == Quantity.BATTERY_PCT:
            return SensorEvidence(self.sensor.sensor_id, quantity, self.battery, self.heard_at, self.observed)
        name = quantity or KINDS[self.sensor.kind].quantities[0]
        return SensorEvidence(self.sensor.sensor_id, name, self.level, self.level_at or self.heard_at, self.observed)


def is_signal(condition: Condition) -> bool:
    """Say whether a condition is a signal: smoke and panic without a hold act on arrival and wait for no order."""
    kind = condition.kind
    plain = condition.hold_for == 0 and condition.between is None
    return condition.form is Form.IS and plain and kind is not None and KINDS[kind].urgent


class Watch:
    """One rule in one home: the predicate of the moment and the hold.

    ``truth``: the predicate; ``run_from``: since when it is TRUE without a pause; ``counted``: the hold counted
    before that; ``since``: when this hold began; ``blind``: how much of it could not be seen; ``is_met``: the hold
    is complete; ``needs``: how long it must be, after a closing also where the condition has none; ``wakes_at``: when
    it is looked at though nothing has changed: at the next edge of its hours of the day, or, for smoke that went on
    when its alarm was closed, when it may rise again; 0: never.
    """

    __slots__ = (
        "blind",
        "blind_from",
        "counted",
        "is_met",
        "is_signal",
        "needs",
        "rule",
        "run_from",
        "sensors",
        "since",
        "truth",
        "wakes_at",
    )

    def __init__(self, rule: Rule, sensors: tuple[SensorState, ...], *, is_signal: bool) -> None:
        self.rule = rule
        self.sensors = sensors
        self.truth: Truth = UNKNOWN
        self.run_from: Instant = 0
        self.counted: Span = 0
        self.since: Instant | None = None
        self.blind: Span = 0
        self.blind_from: Instant | None = None
        self.is_met = False
        self.needs: Span = rule.condition.hold_for
        self.wakes_at: Instant = 0
        self.is_signal = is_signal

    @property
    def condition(self) -> Condition:
        """What is watched for."""
        return self.rule.condition

    @property
    def detail(self) -> str:
        """More about the reason, where there is any."""
        return ""

    @property
    def key(self) -> str:
        """Name this watch within its home."""
        rule_id = self.rule.rule_id
        each = self.rule.condition.form in EACH_SENSOR and not self.is_signal
        return f"{rule_id}/{self.sensors[0].sensor.sensor_id}" if each else rule_id

    @property
    def is_idle(self) -> bool:
        """Say whether no hold is under way, and it stands as a new one would: its truth says it all."""
        return (
            self.since is None
            and not self.counted
            and not self.blind
            and self.blind_from is None
            and not self.is_met
            and self.needs == self.rule.condition.hold_for
            and not self.wakes_at
        )

    # -- the predicate ------------------------------------------------------------------------------------------

    def look(self, *, blind: bool) -> Truth:
        """Say what the sensors show at this moment. ``blind``: the box itself sees nothing."""
        return _PREDICATES[self.rule.condition.form](self, blind)

    def turn(self, truth: Truth, at: Instant) -> None:
        """The predicate becomes ``truth`` at ``at``; the hold follows."""
        if self.truth is TRUE:
            if at > self.run_from:
                self.counted += at - self.run_from
        elif self.truth is UNKNOWN and self.blind_from is not None:
            self.blind += max(0, at - self.blind_from)
            self.blind_from = None
        self.truth = truth
        if truth is FALSE:
            self.restart(None)
        elif truth is TRUE:
            self.run_from = at
            if self.since is None:
                self.since = at
        elif self.since is not None:
            self.blind_from = at

    def pulse(self, at: Instant) -> None:
        """There was activity at ``at`` (perhaps learnt late): at most the time since then can have counted."""
        if self.since is not None and at < self.since:
            return  # before this hold began: nothing to take back
        running = self.truth is TRUE
        if running and at < self.run_from:
            # Activity inside an earlier stretch: what was counted up to then is void; where in the paused part it
            # fell cannot be known any more, so all of the earlier stretches go.
            self.counted = 0
            self.since = self.run_from
        else:
            self.counted = 0
            self.since = at if running else None
            self.run_from = at
        self.blind = 0
        self.blind_from = None
        self.is_met = False
        self.needs = self.rule.condition.hold_for

    def restart(self, at: Instant | None, needs: Span | None = None) -> None:
        """Begin the hold afresh: at ``at`` where the predicate stays TRUE, else with the next TRUE."""
        self.counted = 0
        self.blind = 0
        self.blind_from = None
        self.is_met = False
        self.needs = self.rule.condition.hold_for if needs is None else needs
        if self.truth is TRUE and at is not None:
            self.since = at
            self.run_from = at
        else:
            self.since = None

    def completes_at(self) -> Instant:
        """When the hold will be complete if nothing changes; FAR if it is not running."""
        if self.truth is TRUE and not self.is_met and not self.is_signal:
            return self.run_from + self.needs - self.counted
        return FAR

    def deadline(self) -> Instant:
        """When this watch next wants to be looked at: its hold is complete, or ``wakes_at``."""
        due = FAR
        if self.truth is TRUE and not self.is_met and not self.is_signal:
            due = self.run_from + self.needs - self.counted
        return self.wakes_at if 0 < self.wakes_at < due else due

    def held(self, at: Instant) -> Span:
        """How long the predicate has been seen TRUE in this hold."""
        return self.counted + (max(0, at - self.run_from) if self.truth is TRUE else 0)

    def evidence(self, at: Instant, *, test: bool = False) -> Evidence:
        """Say why the alarm rises at ``at``."""
        since = self.since if self.since is not None else at
        blind = self.blind
        if self.blind_from is not None:
            blind += max(0, at - self.blind_from)
        sensors: Sequence[SensorState] = self.sensors
        if self.rule.condition.form is Form.SILENT:
            sensors = [state for state in sensors if state.is_silent]
            # A silent sensor's since is its last word.
            heard = [state.heard_at for state in sensors if state.heard_at is not None]
            since = min(heard) if heard else since
        elif self.rule.condition.quantity == Quantity.BATTERY_PCT:
            sensors = [s for s in sensors if s.battery is not None and s.battery < self.rule.condition.threshold]
        return Evidence(
            since=since,
            observed_for=self.held(at),
            blind_for=blind,
            sensors=tuple(state.evidence(self.rule.condition.quantity) for state in sensors[:8]),
            test=test,
            detail=self.detail,
        )


class FaultWatch(Watch):
    """A fault of the box itself: home ``gateway`` only."""

    __slots__ = ("fault_active", "fault_detail")

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule, (), is_signal=False)
        self.fault_active = False
        self.fault_detail = ""

    @property
    def detail(self) -> str:
        """What the box said about it."""
        return self.fault_detail


def in_window(at: Instant, between: tuple[int, int], zone: tzinfo) -> bool:
    """Say whether the local time lies in the half-open window of minutes after midnight."""
    local = datetime.fromtimestamp(at / 1_000, zone)
    minute = local.hour * 60 + local.minute
    start, end = between
    if start <= end:
        return start <= minute < end
    return minute >= start or minute < end


@lru_cache(maxsize=256)  # all homes ask at the same edges
def next_edge(at: Instant, between: tuple[int, int], zone: tzinfo) -> Instant:
    """Give the first instant after ``at`` at which the local clock shows an end of the window.

    On the day that a clock change skips the edge it is where the clock jumps over it; where an hour comes twice, the
    first of the two counts as well, since the window is judged by what the clock shows.
    """
    local = datetime.fromtimestamp(at / 1_000, zone)
    candidates = []
    for day in (-1, 0, 1, 2):
        midnight = datetime(local.year, local.month, local.day) + timedelta(days=day)  # noqa: DTZ001 - made aware below
        for minutes in between:
            wall = midnight + timedelta(minutes=minutes)
            for fold in (0, 1):
                edge = round(wall.replace(tzinfo=zone, fold=fold).timestamp() * 1_000)
                if edge > at:
                    candidates.append(edge)
    return min(candidates)


# -- the predicates, one per form ------------------------------------------------------------------------------


def _below(watch: Watch, blind: bool) -> Truth:
    threshold = watch.rule.condition.threshold
    if watch.rule.condition.quantity == Quantity.BATTERY_PCT:
        return _battery_below(watch, threshold)
    unknown = blind
    for state in watch.sensors:
        if not state.observed or state.level is None:
            unknown = True
        elif state.level >= threshold and not blind:
            return FALSE
    return UNKNOWN if unknown else TRUE


def _battery_below(watch: Watch, threshold: float) -> Truth:
    # A cell that was low when its device fell silent has not become better: no freshness here.
    limit = threshold + BATTERY_MARGIN if watch.truth is TRUE else threshold
    known = [state.battery for state in watch.sensors if state.battery is not None]
    if any(level < limit for level in known):
        return TRUE
    return FALSE if known else UNKNOWN


def _above(watch: Watch, blind: bool) -> Truth:
    threshold = watch.rule.condition.threshold
    unknown = blind
    for state in watch.sensors:
        if not state.observed or state.level is None:
            unknown = True
        elif state.level > threshold and not blind:
            return TRUE
    return UNKNOWN if unknown else FALSE


def _quiet(watch: Watch, blind: bool) -> Truth:
    unknown = blind
    for state in watch.sensors:
        if not state.observed:
            unknown = True
        elif state.is_meter:
            if state.level is None:
                unknown = True
            elif state.level > watch.rule.condition.threshold and not blind:
                return FALSE
    return UNKNOWN if unknown else TRUE


def _silent(watch: Watch, blind: bool) -> Truth:
    if any(state.is_silent for state in watch.sensors):
        return TRUE
    # While the box sees nothing, a sensor's silence is not the sensor's.
    return UNKNOWN if blind else FALSE


def _fault(watch: Watch, _blind: bool) -> Truth:
    assert isinstance(watch, FaultWatch)
    return TRUE if watch.fault_active else FALSE


_PREDICATES = {
    Form.BELOW: _below,
    Form.ABOVE: _above,
    Form.ACTIVE: _above,
    Form.IS: _above,  # 1 > 0: any sensor says so
    Form.QUIET: _quiet,
    Form.SILENT: _silent,
    Form.FAULT: _fault,
}
