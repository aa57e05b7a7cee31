"""One home: its sensors, its watches, its alarms, and its own time.

Theory of operation. A home has an event time, ``at``: everything up to it is decided. ``advance(until)`` takes what is
due up to ``until`` in its true order: a deadline before a reading of the same instant, readings by (observed_at, seq).
What comes too late for its place (observed before ``at``) changes nothing but what it can disprove: activity takes
back a hold that it interrupts. Smoke and panic do not wait for order: they act on arrival.
"""

from collections.abc import Mapping, Sequence
from datetime import tzinfo

from sensor_guard.engine import elsewhen, orders, signals
from sensor_guard.engine.alarm import Happening
from sensor_guard.engine.cases import NOTHING, Cases
from sensor_guard.engine.conditions import (
    EACH_SENSOR,
    FALSE,
    FAR,
    FLOWING,
    LEVELS,
    METERED,
    TRUE,
    UNKNOWN,
    URGENT,
    FaultWatch,
    SensorState,
    Watch,
    in_window,
    next_edge,
)
from sensor_guard.engine.elsewhen import Pending, put
from sensor_guard.engine.plan import Form, HomePlan
from sensor_guard.engine.shape import Shapes, watches_for
from sensor_guard.model import (
    DEVICE_TIME,
    KINDS,
    MINUTE,
    RETAINED,
    Effects,
    Fault,
    Instant,
    Quantity,
    Reading,
    Response,
    Span,
    Truth,
)

_LINK, _DOOR = str(Quantity.LINK), str(Quantity.DOOR_OPEN)
_SMOKE, _BATTERY = str(Quantity.SMOKE), str(Quantity.BATTERY_PCT)
FRESH: Span = MINUTE
"""A reading that was under way for less says nothing of how far the broker's queue has been handed over."""
_HAPPENING = {FALSE: Happening.CLEARED, UNKNOWN: Happening.UNSEEN, TRUE: Happening.SEEN_AGAIN}


class Home:
    """See the module. ``slots`` keep a home near 4 kB."""

    __slots__ = (
        "as_said",
        "at",
        "away_until",
        "blind_from",
        "cases",
        "clock_known",
        "deadline",
        "event_due",
        "home_id",
        "is_away",
        "is_blind",
        "ladder_due",
        "max_observed",
        "muted_until",
        "pending",
        "plan",
        "sensors",
        "test_by",
        "test_from",
        "test_until",
        "watches",
        "zone",
    )

    def __init__(self, plan: HomePlan, shapes: Shapes, zone: tzinfo, since: Instant) -> None:
        self.home_id = plan.home_id
        self.at: Instant = since
        self.max_observed: Instant = since
        self.clock_known = True
        self.as_said: Mapping[str, Instant] = NOTHING  # ends by the wall clock, from before it was lost; replaced
        self.is_away = False
        self.away_until: Instant = FAR
        self.muted_until: Mapping[str, Instant] = NOTHING  # replaced, never changed
        self.test_from: Instant = 0
        self.test_until: Instant = 0  # 0: no test
        self.test_by = ""
        self.is_blind = False
        self.blind_from: Instant | None = None
        self.deadline: Instant = FAR
        self.pending: list[Pending] = []
        self.sensors: dict[str, SensorState] = {}
        self.watches: tuple[Watch, ...] = ()
        # When the engine will look at this home, in event time and in the daemon's; FAR: it is in neither heap.
        self.event_due: Instant = FAR
        self.ladder_due: Instant = FAR
        self.cases = Cases(plan)
        self.apply_plan(plan, shapes, zone, since)

    # -- what the plan says -------------------------------------------------------------------------------------

    def apply_plan(self, plan: HomePlan, shapes: Shapes, zone: tzinfo, since: Instant) -> None:
        """Follow another configuration: what has not changed keeps its state, its holds and its alarms.

        The deadline is the caller's: whatever he does next may move it.
        """
        self.plan = plan
        self.zone = zone
        self.cases.plan = plan
        before, self.sensors = self.sensors, {}
        for sensor in plan.sensors:
            state = before.get(sensor.sensor_id)
            if state is None or state.sensor.kind != sensor.kind:
                state = SensorState(sensor, since)
            state.sensor = sensor
            self.sensors[sensor.sensor_id] = state
        old = {watch.key: watch for watch in self.watches} if self.watches else None
        self.watches = watches_for(shapes.of(plan), tuple(self.sensors.values()), old)
        for watch in self.watches:
            if watch.rule.condition.between is not None and not watch.wakes_at:
                watch.wakes_at = next_edge(self.at, watch.rule.condition.between, zone)
        for state in self.sensors.values():
            if state.level is not None:
                state.settle()

    # -- time ---------------------------------------------------------------------------------------------------

    def wake_at(self) -> Instant:
        """When this home next wants ``advance``, in event time: a lower bound."""
        return min(self.deadline, self.pending[0].at) if self.pending else self.deadline

    def seen_until(self) -> Instant:
        """Until when one of its sensors speaks for the present; 0: none does. A home without sensors is always seen."""
        if self.is_blind:
            return 0
        if not self.sensors:
            return FAR
        return max((state.fresh_until for state in self.sensors.values() if state.observed), default=0)

    def advance(self, until: Instant, now: Instant, effects: Effects) -> None:
        """Decide everything up to ``until``, in its true order. ``now``: when it is noticed."""
        pending = self.pending
        while True:
            waiting = pending[0][0] if pending else FAR
            if self.deadline <= waiting:
                if self.deadline > until:
                    break
                due = self.next_deadline()  # the cached one is a lower bound only
                if due > self.deadline:
                    self.deadline = due
                    continue
                self.at = max(self.at, due)
                self._fire(due, now, effects)
                self.deadline = self.next_deadline()
            else:
                if waiting > until:
                    break
                item = pending.pop(0)
                self.at = max(self.at, waiting)
                if item.reading is not None:
                    self._apply(item.reading, waiting, now, effects)
                else:
                    elsewhen.blindness(self, item.edge, waiting, now, effects)
        self.at = max(self.at, until)

    def due(self, lateness: Span) -> Instant:
        """When this home next wants ``settle``, in the daemon's time: a lower bound."""
        return min(self.wake_at() + lateness, self.cases.next_due())

    def settle(self, until: Instant, now: Instant, effects: Effects) -> None:
        """Decide what is due up to ``until``, and let the ladders climb to ``now``."""
        if self.wake_at() <= until:
            self.advance(until, now, effects)
        if self.cases.next_due() <= now:
            self.cases.advance(now, effects)

    def run(self, readings: Sequence[Reading], place: int, stop_at: Instant, effects: Effects) -> int:
        """Take readings from ``place`` on, each decided when it arrives, until something has come of it.

        For recordings that are in order: nothing waits for its place, and nobody else asks anything meanwhile. It also
        stops where a deadline, or ``stop_at``, lies before the next reading, so that whatever rises is noticed then.

        Returns the place of the first reading that was not taken; at least one is, and never half an instant.
        """
        sensors, last = self.sensors, readings[place].received_at
        for place in range(place, len(readings)):  # noqa: B020, PLR1704 - goes on from there
            _, sensor_id, quantity, value, observed_at, at, _, flags = readings[place]
            if at != last:
                if effects.alarms or stop_at < at or (self.deadline < at and self._refreshed() < at):
                    return place
                last = at
            if self.deadline <= at:
                self.advance(at, at, effects)
            self.at = at
            state = sensors.get(sensor_id)
            if state is None:
                continue
            if flags & RETAINED or quantity in URGENT or observed_at < at:
                self.accept(place, readings[place], at, effects)
                self.advance(at, at, effects)
            elif state.says_nothing_new(quantity, value, at):
                if value > 0.0 and quantity in FLOWING:
                    self._activity(state, at, effects)
            else:
                self._news(state, readings[place], at, at, effects)
        return len(readings)

    def _refreshed(self) -> Instant:
        """Look for the true deadline where the cached one may be too early."""
        self.deadline = self.next_deadline()
        return self.deadline

    def accept(self, seq: int, reading: Reading, now: Instant, effects: Effects) -> None:
        """Take a reading: into its place if that is still open, otherwise for what it can disprove."""
        _, sensor_id, quantity, value, at, received_at, _, flags = reading
        state = self.sensors.get(sensor_id)
        if state is None:
            return
        if at > received_at or at > now:
            # A device's clock may run a little ahead: nothing is observed after it was received.
            at = min(received_at, now)
        if quantity in URGENT:
            if value == 1.0:
                signals.signal(self, state, reading, at, now, effects)
            elif quantity == _SMOKE and not flags & RETAINED:
                state.smell(0.0, at)
        if at < self.at:
            self._late(state, reading, at, now, effects)
            return
        if flags & DEVICE_TIME and self.max_observed < at < received_at - FRESH and not KINDS[state.sensor.kind].urgent:
            # What carries no time of its own came now, however long it waited in the broker. Smoke and panic have a
            # connection of their own, which is far ahead while the other one still drains. And mosquitto lets what is
            # published as we come back overtake what waits: nothing may be decided by it before all is handed over.
            self.max_observed = at
        item = Pending(at, seq, reading)
        if not self.pending or item > self.pending[-1]:
            self.pending.append(item)
        else:
            put(self.pending, item)

    # -- readings -----------------------------------------------------------------------------------------------

    def _apply(self, reading: Reading, at: Instant, now: Instant, effects: Effects) -> None:
        """A reading takes its place in the home's time."""
        _, sensor_id, quantity, value, _, _, _, flags = reading
        state = self.sensors.get(sensor_id)
        if state is None:  # taken out of the plan while it waited
            return
        if flags & RETAINED:
            self._retained(state, quantity, value, at, now, effects)
        elif quantity != _SMOKE and state.says_nothing_new(quantity, value, at):
            if value > 0.0 and quantity in FLOWING:
                self._activity(state, at, effects)
            if self.is_blind and quantity != _BATTERY:
                self._disprove_blindly(state, at)
        else:
            self._news(state, reading, at, now, effects)

    def _news(self, state: SensorState, reading: Reading, at: Instant, now: Instant, effects: Effects) -> None:
        quantity, value = reading.quantity, reading.value
        if quantity == _LINK and value == 0.0:
            self._lost(state, at, now, effects)
            return
        was_silent, was_observed, before = state.is_silent, state.observed, state.level
        state.hear(at)
        self._learn(state, quantity, value, at, effects)
        if quantity == _BATTERY:
            self._battery(state, value, at, now, effects)
        elif self.is_blind:
            self._disprove_blindly(state, at)
        level = state.level
        if not was_observed or (level != before and (level is None or not state.calm_from < level < state.calm_to)):
            self._look_again(state, at, now, effects)
        elif quantity == _SMOKE:
            self._smoke_in_its_place(state, at, at, now, effects)
        if was_silent:
            self._silence(at, now, effects)
        # Only earlier deadlines need to be known at once; later ones are found when the cached one is reached.
        if was_silent or not was_observed:
            self.deadline = min(self.deadline, state.silent_at, state.fresh_until if state.observed else FAR)

    def _learn(self, state: SensorState, quantity: str, value: float, at: Instant, effects: Effects) -> None:
        """Give the sensor its new level, and see whether somebody must have been there to cause it."""
        before = state.level
        if quantity in METERED:
            level = state.metered(quantity, value, at)
            if level is None:
                return
            state.see(level, at)
            active = quantity == Quantity.VOLUME_L and level > 0.0
        else:
            if quantity in LEVELS:
                state.see(value, at)
            moved = quantity == _DOOR and before is not None and value != before
            active = moved or (quantity in FLOWING and value > 0.0)
        if active:
            self._activity(state, at, effects)

    def _look_again(self, state: SensorState, at: Instant, now: Instant, effects: Effects) -> None:
        for watch in state.watches:
            self.evaluate(watch, at, now, effects)
        state.settle()

    def _smoke_in_its_place(
        self, state: SensorState, said_at: Instant, at: Instant, now: Instant, effects: Effects
    ) -> None:
        """Smoke's level was taken on arrival; a rule that asks for more than its signal looks at it now, in its turn.

        said_at: when the detector said it: if it has said something since, that word's turn comes.
        """
        if said_at == state.level_at:
            for watch in state.watches:
                if not watch.is_signal:
                    self.evaluate(watch, at, now, effects)

    def _silence(self, at: Instant, now: Instant, effects: Effects) -> None:
        for watch in self.watches:
            if watch.rule.condition.form is Form.SILENT:
                self.evaluate(watch, at, now, effects)

    def _battery(self, state: SensorState, level: float, at: Instant, now: Instant, effects: Effects) -> None:
        state.battery = level
        for watch in self.watches:
            if watch.rule.condition.quantity == Quantity.BATTERY_PCT:
                self.evaluate(watch, at, now, effects)

    def _disprove_blindly(self, state: SensorState, at: Instant) -> None:
        """What a device kept for us while we were blind says nothing of the time around it, but it was in use then."""
        level = state.level if state.level_at == at else None
        for watch in state.watches if level is not None else ():
            condition = watch.condition
            if condition.form is Form.BELOW and not watch.is_met and level is not None and level >= condition.threshold:
                watch.pulse(at)

    def _retained(
        self, state: SensorState, quantity: str, value: float, at: Instant, now: Instant, effects: Effects
    ) -> None:
        # A retained message may be weeks old: a retained 1 (open, smoke) may raise; a retained 0 proves nothing, and
        # neither is a sign of life. Where the sensor is observed, its own word is newer.
        if quantity in LEVELS and value == 1.0 and not state.observed:
            state.see(value, at)
            self._look_again(state, at, now, effects)
            self.deadline = min(self.deadline, state.fresh_until)

    def _lost(self, state: SensorState, at: Instant, now: Instant, effects: Effects) -> None:
        """Its own gateway says that the sensor is offline: unseen and silent from now on."""
        news = not state.is_silent
        state.observed = False
        state.is_silent = True
        for watch in state.watches:
            self.evaluate(watch, at, now, effects)
        if news:
            self._one_more_silent(at, now, effects)

    def disprove(self, reading: Reading) -> None:
        """Without a time of its own it may be as old as the gap in which it waited: it disproves from there.

        It is a sign of life as of when it came, too: a silence that would fall due in the gap is none.
        """
        _, sensor_id, quantity, value, _, received_at, _, flags = reading
        state = self.sensors.get(sensor_id)
        if state is None or flags & RETAINED:
            return
        self._take_back(state, quantity, value, self.at)
        if not state.is_silent and not (quantity == _LINK and value == 0.0):
            state.silent_at = max(state.silent_at, received_at + state.sensor.observed_for)

    def _late(self, state: SensorState, reading: Reading, at: Instant, now: Instant, effects: Effects) -> None:
        """Learnt too late to take its place: it takes back what it disproves.

        If it is this sensor's newest word all the same, it speaks for the present from where the home's time stands.
        """
        quantity, value = reading.quantity, reading.value
        if reading.flags & RETAINED or (quantity == Quantity.LINK and value == 0.0):
            return
        self._take_back(state, quantity, value, at)
        if state.heard_at is not None and at <= state.heard_at:
            if quantity == _SMOKE:
                self._smoke_in_its_place(state, at, self.at, now, effects)
            return
        was_silent = state.is_silent
        state.heard_at = at
        state.silent_at = max(state.silent_at, at + state.sensor.observed_for)
        if at + state.sensor.observed_for > self.at:
            state.is_silent = False
            state.learn(quantity, value, at)
            self._look_again(state, self.at, now, effects)
        if was_silent and not state.is_silent:
            self._silence(self.at, now, effects)
        self.deadline = min(self.deadline, state.silent_at, state.fresh_until if state.observed else FAR)

    def _take_back(self, state: SensorState, quantity: str, value: float, at: Instant) -> None:
        """Activity at ``at`` takes back the holds that it interrupts; a live alarm stays what it is."""
        moved = quantity == Quantity.DOOR_OPEN and state.level is not None and value != state.level
        active = moved or (quantity in (Quantity.MOTION, Quantity.FLOW_L_MIN) and value > 0.0)
        for watch in state.watches:
            condition = watch.rule.condition
            in_use = quantity == Quantity.POWER_W and value >= condition.threshold
            disproves = active if condition.form is Form.QUIET else condition.form is Form.BELOW and in_use
            if disproves and not watch.is_met:
                watch.pulse(at)

    def _activity(self, state: SensorState, at: Instant, effects: Effects) -> None:
        for watch in state.watches:
            if watch.rule.condition.form is Form.QUIET:
                if watch.is_met:
                    self.cases.happens(watch.rule.rule_id, Happening.CLEARED, at, effects)
                    effects.changed = True
                watch.pulse(at)
                due = watch.deadline()
                if due < self.deadline:  # noqa: PLR1730 - cheaper than min() where it is done for every movement
                    self.deadline = due

    # -- deadlines ----------------------------------------------------------------------------------------------

    def next_deadline(self) -> Instant:
        """Look for the earliest thing that is due here though nothing arrives."""
        due = self.away_until if self.is_away else FAR
        if self.test_until:
            due = min(due, self.test_until)
        for until in self.muted_until.values():
            due = min(due, until)
        for watch in self.watches:
            at = watch.deadline()
            if at < due:  # noqa: PLR1730 - cheaper than min(), and done a dozen times for every home that is woken
                due = at
        if not self.is_blind:
            for state in self.sensors.values():
                if state.observed and state.fresh_until < due:
                    due = state.fresh_until
                if not state.is_silent and state.silent_at < due:
                    due = state.silent_at
        return due

    def _fire(self, at: Instant, now: Instant, effects: Effects) -> None:
        """Do what is due at ``at``. Holds first: a hold that is complete as its sensor falls silent is complete."""
        for watch in self.watches:
            if watch.completes_at() <= at:
                self._complete(watch, at, now, effects)
        for watch in self.watches:
            if watch.rule.condition.between is not None and watch.wakes_at <= at:
                watch.wakes_at = next_edge(at, watch.rule.condition.between, self.zone)
                self.evaluate(watch, at, now, effects)
            elif 0 < watch.wakes_at <= at:
                watch.wakes_at = 0
                signals.burns_on(self, watch, at, now, effects)
        if not self.is_blind:
            self._expire(at, now, effects)
        for rule_id in [rule_id for rule_id, until in self.muted_until.items() if until <= at]:
            orders.unmute(self, rule_id, at, now, effects)
        if self.is_away and self.away_until <= at:
            orders.back(self, at, now, effects)
        if self.test_until and self.test_until <= at:
            orders.end_test(self, at, now, effects)

    def _expire(self, at: Instant, now: Instant, effects: Effects) -> None:
        for state in self.sensors.values():
            if state.observed and state.fresh_until <= at:
                state.observed = False
                for watch in state.watches:
                    self.evaluate(watch, at, now, effects)
        fell_silent = [s for s in self.sensors.values() if not s.is_silent and s.silent_at <= at]
        for state in fell_silent:
            state.is_silent = True
        if fell_silent:
            self._one_more_silent(at, now, effects)

    def _one_more_silent(self, at: Instant, now: Instant, effects: Effects) -> None:
        for watch in self.watches:
            if watch.rule.condition.form is not Form.SILENT:
                continue
            was_met = watch.is_met
            self.evaluate(watch, at, now, effects)
            alarm = self.cases.open_alarm(watch.rule.rule_id)
            if was_met and alarm is not None and alarm.response is Response.ACKNOWLEDGED:
                # Somebody is seeing to the first silent sensor, and another one has gone.
                self.cases.recur(watch.rule.rule_id, at, now, watch.evidence(at), effects)

    def evaluate(self, watch: Watch, at: Instant, now: Instant, effects: Effects) -> None:
        """Look at the sensors again: an open alarm's condition follows what they show, the hold what counts of it."""
        seen = watch.look(blind=self.is_blind)
        if self.cases.open_by_rule and not watch.is_signal and not watch.rule.latched and self._is_about(watch):
            # The end of the night, or of being at home, is no news of the sensor: it clears nothing.
            self.cases.happens(watch.rule.rule_id, _HAPPENING[seen], at, effects)
        truth = seen if seen is FALSE else self._counted(watch, seen, at)
        if truth is watch.truth:
            return
        watch.turn(truth, at)
        effects.changed = True
        if truth is not TRUE or watch.is_signal:
            return
        if not watch.is_met and watch.needs <= watch.counted:
            self._complete(watch, at, now, effects)
        elif watch.is_met and self.cases.open_alarm(watch.rule.rule_id) is None:
            self.raise_alarm(watch, at, now, effects)  # held back by a mute that ended while it could not be seen
        due = watch.deadline()
        if due < self.deadline:  # noqa: PLR1730 - cheaper than min(), and done for every tap that is opened
            self.deadline = due

    def _counted(self, watch: Watch, seen: Truth, at: Instant) -> Truth:
        """Say what counts of what the sensors show: nothing while away, nor outside the window of the day.

        UNKNOWN where that is a matter of the hour, and nobody knows the hour.
        """
        rule = watch.rule
        if rule.unless_away and self.is_away:
            return FALSE
        between = rule.condition.between
        if between is None:
            return seen
        if not self.clock_known:
            return UNKNOWN
        return seen if in_window(at, between, self.zone) else FALSE

    def _is_about(self, watch: Watch) -> bool:
        """Say whether the rule's open alarm is about this watch: where each sensor has one, about the sensor's."""
        if watch.rule.condition.form not in EACH_SENSOR:
            return True
        alarm = self.cases.open_alarm(watch.rule.rule_id)
        return alarm is not None and alarm.evidence.sensors[0].sensor_id == watch.sensors[0].sensor.sensor_id

    def _complete(self, watch: Watch, at: Instant, now: Instant, effects: Effects) -> None:
        watch.is_met = True
        effects.changed = True
        self.raise_alarm(watch, at, now, effects)

    def raise_alarm(self, watch: Watch, at: Instant, now: Instant, effects: Effects) -> None:
        """The watch's hold is complete: open an alarm, or ask again about the one that is open."""
        rule = watch.rule
        evidence = watch.evidence(at, test=self.in_test(at))
        if self.cases.open_alarm(rule.rule_id) is not None:
            self.cases.recur(rule.rule_id, at, now, evidence, effects)
        elif not (rule.mutable and rule.rule_id in self.muted_until):
            self.cases.raise_alarm(rule, at, now, evidence, effects)

    def in_test(self, at: Instant) -> bool:
        """Say whether an alarm at this moment is a test. What was due before the test began is none."""
        return self.test_from <= at < self.test_until

    def watches_of(self, rule_id: str) -> list[Watch]:
        """Give the watches of one rule: one for the home, or one for each of its sensors."""
        return [watch for watch in self.watches if watch.rule.rule_id == rule_id]

    def is_faulty(self, fault_id: str) -> bool:
        """Say whether this fault of the box is there at the moment (home ``gateway`` only)."""
        watches = self.watches_of(fault_id)
        return any(isinstance(watch, FaultWatch) and watch.fault_active for watch in watches)

    def fault(self, fault: Fault, now: Instant, effects: Effects) -> None:
        """A fault of the box itself begins or ends (home ``gateway`` only)."""
        watch = next((watch for watch in self.watches if watch.rule.rule_id == fault.fault_id), None)
        if not isinstance(watch, FaultWatch):
            return
        if fault.active and watch.fault_active and (watch.is_met or watch.needs > watch.condition.hold_for):
            watch.turn(FALSE, fault.at)  # it happened once more, perhaps after a closing: a lost session, another gap
        watch.fault_active = fault.active
        watch.fault_detail = fault.detail[:120]
        self.evaluate(watch, fault.at, now, effects)
