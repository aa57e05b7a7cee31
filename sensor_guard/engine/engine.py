"""The engine: readings, time and people's words in; alarms and texts to be sent out.

Theory of operation
    The engine is a deterministic function of what it is fed: numbered inputs and the ``now`` of each batch. It reads
    no clock. Feeding the same batches again gives the same transitions; feeding more often or less often does too,
    because everything is decided at its own time and in its own order, not at the time of the feed.

    Every home has its event time (see ``home``). In normal running it follows ``now`` at a distance of
    ``plan.lateness``, so that readings that overtook each other are put in order again. While the connection to the
    broker is lost, or what waited there has not been handed over yet ("drained"), event time stands still where the
    connection was lost and moves only with the readings that come in: no deadline fires that a proof of life still in
    the broker's queue would have disproved. If readings were lost for good in between, that stretch is blind: every
    predicate is UNKNOWN in it.

    Two heaps with one lazy entry per home hold the times at which something is due: one in event time (holds,
    expiries, waiting readings), one in the daemon's time (ladders). Nothing here looks across homes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import compress
from operator import not_

from sensor_guard.engine import elsewhen, orders
from sensor_guard.engine.conditions import FAR
from sensor_guard.engine.home import Home
from sensor_guard.engine.homes import Homes, Sleeper
from sensor_guard.engine.plan import Form, HomePlan, Plan
from sensor_guard.engine.shape import Shapes
from sensor_guard.model import (
    DEVICE_TIME,
    GATEWAY,
    ClockKnown,
    ClockStepped,
    Command,
    CommandKind,
    DeliveryReport,
    Drained,
    Effects,
    Fault,
    Input,
    Instant,
    LinkLost,
    LinkUp,
    Notification,
    NotificationKind,
    PlanChanged,
    Reading,
)

START = -(1 << 60)


class Engine:
    """See the module.

    Args:
        plan_of: gives the plan with this hash (the journal keeps every plan that was ever in force).
    """

    def __init__(self, plan_of: Callable[[str], Plan]) -> None:
        self._plan_of = plan_of
        self.plan = Plan(rules=(), homes=())
        self.plan_hash = ""
        self._box_shapes = self._shapes = Shapes(())
        self.homes = Homes(self._woken)
        self.now: Instant = START
        self.drained = True
        self.clock_known = True
        self.frozen_at: Instant = START
        self.dirty: set[str] = set()
        self.upto: dict[str, int] = {}  # home_id -> seq of the last input its restored state has seen
        self.settled_to: Instant = START  # in event time: what was due by then is decided, wherever it was
        self._effects = Effects()  # of the next feed; whoever is woken in between may add to it
        self._event_heap: list[tuple[Instant, str]] = []
        self._ladder_heap: list[tuple[Instant, str]] = []
        self._handlers: dict[type, Callable[[int, Input, Effects], None]] = {
            Command: self._command,
            DeliveryReport: self._delivery,
            LinkLost: self._link_lost,
            LinkUp: self._link_up,
            Drained: self._link_drained,
            Fault: self._fault,
            ClockStepped: self._clock_stepped,
            ClockKnown: self._clock_known,
            PlanChanged: self._plan_changed,
        }

    # -- what the loop calls --------------------------------------------------------------------------------------

    def feed(self, inputs: Sequence[tuple[int, Input]], now: Instant) -> Effects:
        """Take numbered inputs in their order, then decide everything that is due at ``now``.

        ``now`` never goes back: an earlier one counts as the latest one seen.
        """
        effects = self._effects
        for seq, item in inputs:
            if isinstance(item, Reading):
                # As of when it arrived: what is late does not depend on how readings were batched.
                if item.received_at > self.now:
                    self.now = min(item.received_at, max(self.now, now))
                self._reading(seq, item, effects)
            else:
                self.now = max(self.now, min(item.at, max(self.now, now)))
                self._handlers[type(item)](seq, item, effects)
        self.now = max(self.now, now)
        self._settle(effects)
        self._effects = Effects()
        return effects

    def next_deadline(self) -> Instant | None:
        """When ``feed`` should be called next, in ``now`` terms, though nothing arrives; None: not at all.

        A lower bound: now and then the call finds nothing due yet.
        """
        due = FAR
        if self.drained and self._event_heap:
            due = self._event_heap[0][0] + self.plan.lateness
        if self._ladder_heap:
            due = min(due, self._ladder_heap[0][0])
        gateway = self.homes.get(GATEWAY)
        if gateway is not None:
            due = min(due, gateway.wake_at())
        return None if due >= FAR else due

    def finish(self) -> Effects:
        """Decide everything up to ``now`` without waiting for late readings (the end of a recording)."""
        effects = self._effects
        for home_id, home in self.homes.items():
            home.advance(self.now, self.now, effects)
            self._touched(home_id, home)
        self._settle(effects)
        self._effects = Effects()
        return effects

    def forget(self) -> None:
        """Be as new: what was restored proved to be no sound state."""
        self.plan, self.plan_hash = Plan(rules=(), homes=()), ""
        self.now = self.frozen_at = self.settled_to = START
        self.drained = True
        self._effects = Effects()
        self.homes.clear()
        self.dirty.clear()
        self.upto.clear()
        self.schedule_all()

    def schedule_all(self) -> None:
        """Build both heaps from the homes, after a restore."""
        self._event_heap.clear()
        self._ladder_heap.clear()
        for home_id, home in self.homes.as_they_are():
            if isinstance(home, Sleeper):
                if home.wakes_at < FAR:
                    self._event_heap.append((home.wakes_at, home_id))
            else:
                home.event_due = home.ladder_due = FAR
        heapify(self._event_heap)
        for home_id, home in self.homes.awake():
            self._schedule(home_id, home)

    # -- readings and time ----------------------------------------------------------------------------------------

    def _reading(self, seq: int, reading: Reading, effects: Effects) -> None:
        home_id = reading[0]
        home = self.homes.get(home_id)
        if home is None or (self.upto and seq <= self.upto.get(home_id, 0)):
            return
        now = self.now
        until = now - self.plan.lateness if self.drained and home_id != GATEWAY else self._event_time(home)
        if home.deadline <= until or (home.pending and home.pending[0][0] <= until):
            home.advance(until, now, effects)
        elif until > home.at:
            home.at = until
        if not self.drained and not reading.flags & DEVICE_TIME:
            home.disprove(reading)
        home.accept(seq, reading, now, effects)
        self._touched(home_id, home)

    def _event_time(self, home: Home) -> Instant:
        """Say how far this home may be decided at ``self.now``."""
        if home.home_id == GATEWAY:
            return self.now
        if self.drained:
            return self.now - self.plan.lateness
        return max(self.frozen_at, home.max_observed) - self.plan.lateness

    def _settle(self, effects: Effects) -> None:
        """Decide what is due, home by home, then let the ladders climb.

        Homes in the order of their ids: that of the heaps is of lower bounds, which are others after a restart.
        """
        limit = (self.now if self.drained else self.frozen_at) - self.plan.lateness
        for home_id, home in self._due(self._event_heap, "event_due", limit):
            home.advance(self._event_time(home), self.now, effects)
            self._touched(home_id, home)
        self.settled_to = max(self.settled_to, limit)
        gateway = self.homes.get(GATEWAY)
        if gateway is not None and gateway.wake_at() <= self.now:
            gateway.advance(self.now, self.now, effects)
            self._touched(GATEWAY, gateway)
        for home_id, home in self._due(self._ladder_heap, "ladder_due", self.now):
            home.cases.advance(self.now, effects)
            self._touched(home_id, home)

    def _due(self, heap: list[tuple[Instant, str]], mark: str, until: Instant) -> Iterator[tuple[str, Home]]:
        """Give the homes whose entries are due, by their ids, again and again until none is: work makes new ones.

        mark: the home's own word on which of its entries counts; the others have been overtaken.
        """
        while heap and heap[0][0] <= until:
            due_homes = {}
            while heap and heap[0][0] <= until:
                due, home_id = heappop(heap)
                home = self.homes.get(home_id)
                if home is not None and getattr(home, mark) == due:
                    setattr(home, mark, FAR)
                    due_homes[home_id] = home
            yield from sorted(due_homes.items())

    def _woken(self, home_id: str, home: Home, sleeper: Sleeper) -> None:
        """Put a home that was woken where it would be if it had never slept."""
        home.event_due = sleeper.wakes_at  # its entry is in the heap
        if sleeper.blind is not None:
            elsewhen.blind_between(home, *sleeper.blind)
            home.advance(self.settled_to, self.now, self._effects)
            self._schedule(home_id, home)

    def _touched(self, home_id: str, home: Home) -> None:
        self.dirty.add(home_id)
        self._schedule(home_id, home)

    def _schedule(self, home_id: str, home: Home) -> None:
        if home_id != GATEWAY:
            wake = home.wake_at()
            if wake < home.event_due:
                home.event_due = wake
                heappush(self._event_heap, (wake, home_id))
        if home.cases.alarms:
            due = home.cases.next_due()
            if due < home.ladder_due:
                home.ladder_due = due
                heappush(self._ladder_heap, (due, home_id))

    def _all(self, seq: int, only: str | None = None) -> Iterable[tuple[str, Home]]:
        """Give the homes that have not seen this input yet, awake; ``only``: this one, if it has not."""
        return [(home_id, self.homes[home_id]) for home_id in self._new_to(seq) if only in (None, home_id)]

    def _new_to(self, seq: int) -> list[str]:
        """Name the homes that have not seen this input yet."""
        return [home_id for home_id in self.homes if seq > self.upto.get(home_id, 0)]

    # -- the connection -------------------------------------------------------------------------------------------

    def _link_lost(self, _seq: int, item: Input, effects: Effects) -> None:
        assert isinstance(item, LinkLost)
        if not self.drained:
            return
        # Stand still. What was under way just now is as late as ever: after a kill the half of a batch that nobody
        # has stored waits in the broker, and may disprove what fell due a moment ago.
        self.drained = False
        self.frozen_at = item.at
        self._settle(effects)
        effects.changed = True

    def _link_up(self, seq: int, item: Input, effects: Effects) -> None:
        assert isinstance(item, LinkUp)
        effects.changed = True
        if item.blind_from is None:
            return
        # Lost once more before everything had been handed over: what was left of the first gap is gone as well. And
        # what was decided before we stood still is decided, though the last proof may be some seconds older: how far a
        # home was looked at by then is chance, and nothing may depend on it.
        blind_from = item.blind_from if self.drained else self.frozen_at
        for home_id in self._new_to(seq):
            if home_id == GATEWAY:
                continue
            if self.homes.sleep_through(home_id, blind_from, item.at):
                self.dirty.add(home_id)
                continue
            home = self.homes[home_id]
            elsewhen.blind_between(home, blind_from, item.at)
            self._touched(home_id, home)

    def _link_drained(self, _seq: int, _item: Input, effects: Effects) -> None:
        self.drained = True
        effects.changed = True

    # -- people and the box ---------------------------------------------------------------------------------------

    def _command(self, seq: int, item: Input, effects: Effects) -> None:
        assert isinstance(item, Command)
        if item.kind == CommandKind.NOTIFY_TEST:
            effects.notifications.append(_test_text(item))
            return
        if item.kind in (CommandKind.MUTE, CommandKind.UNMUTE):
            self._mute(seq, item, effects)
            return
        is_answer = item.kind in (CommandKind.ACKNOWLEDGE, CommandKind.CLOSE)
        home_id = item.target_id.partition(".")[0] if is_answer else item.target_id
        home = self.homes.get(home_id)
        if home is None:
            effects.refused.append((item.command_id, f"there is no home {home_id}; `sensor-guard homes` lists them"))
            return
        if seq <= self.upto.get(home_id, 0):
            return
        orders.command(home, item, self._event_time(home), self.now, effects)
        self._touched(home_id, home)

    def _mute(self, seq: int, item: Command, effects: Effects) -> None:
        rule = next((rule for rule in self.plan.rules if rule.rule_id == item.target_id), None)
        if rule is None:
            known = ", ".join(rule.rule_id for rule in self.plan.rules)
            effects.refused.append((item.command_id, f"there is no rule {item.target_id}; the rules are {known}"))
        elif not rule.mutable:
            effects.refused.append((item.command_id, f"{item.target_id} can never be muted; use test-mode for a test"))
        elif item.kind == CommandKind.MUTE and item.until is None:
            effects.refused.append((item.command_id, "a mute must end: give --until"))
        elif item.home_id is not None and item.home_id not in self.homes:
            effects.refused.append((item.command_id, f"there is no home {item.home_id}"))
        else:
            for home_id, home in self._all(seq, item.home_id):
                home.advance(self._event_time(home), self.now, effects)
                if item.kind == CommandKind.MUTE and item.until is not None:
                    orders.mute(home, item.target_id, item.until, effects)
                else:
                    orders.unmute(home, item.target_id, item.at, self.now, effects)
                self._touched(home_id, home)

    def _delivery(self, seq: int, item: Input, effects: Effects) -> None:
        assert isinstance(item, DeliveryReport)
        home_id = item.notification_id.partition(".")[0]
        home = self.homes.get(home_id)
        effects.changed = True
        if home is not None and seq > self.upto.get(home_id, 0):
            home.cases.report(item, self.now, effects)
            self._touched(home_id, home)

    def _fault(self, seq: int, item: Input, effects: Effects) -> None:
        assert isinstance(item, Fault)
        effects.changed = True
        home = self.homes.get(GATEWAY)
        if home is not None and seq > self.upto.get(GATEWAY, 0):
            home.advance(self.now, self.now, effects)
            home.fault(item, self.now, effects)
            self._touched(GATEWAY, home)

    def _clock_stepped(self, seq: int, item: Input, effects: Effects) -> None:
        assert isinstance(item, ClockStepped)
        effects.changed = True
        homes = self._all(seq)  # awake before the times change to which they are to be decided
        self.now += item.offset
        self.frozen_at += item.offset
        self.settled_to += item.offset
        for home_id, home in homes:
            elsewhen.shift(home, item.offset)
            self.dirty.add(home_id)
        self.schedule_all()

    def _clock_known(self, seq: int, item: Input, effects: Effects) -> None:
        assert isinstance(item, ClockKnown)
        effects.changed = True
        self.clock_known = item.known
        for home_id, home in self._all(seq):
            home.advance(self._event_time(home), self.now, effects)
            elsewhen.know_clock(home, item.known, self.now, effects)
            self._touched(home_id, home)

    # -- the plan -------------------------------------------------------------------------------------------------

    def _plan_changed(self, seq: int, item: Input, effects: Effects) -> None:
        assert isinstance(item, PlanChanged)
        effects.changed = True
        before, coming = self.plan, self._plan_of(item.plan_hash)
        same_rules = before.rules == coming.rules and before.zone_name == coming.zone_name
        self._wake_for(coming, same_rules=same_rules)
        self.use_plan(item.plan_hash)
        names = set()
        for home_plan in self.plan.homes:
            names.add(home_plan.home_id)
            if seq <= self.upto.get(home_plan.home_id, 0):
                continue
            if same_rules and self.homes.plan_of(home_plan.home_id) == home_plan:
                continue  # of ten thousand homes a change mostly concerns a few
            home = self.homes.get(home_plan.home_id)
            shapes = self.shapes_for(home_plan)
            if home is None:
                home = Home(home_plan, shapes, self.plan.zone, item.at)
                elsewhen.know_clock(home, self.clock_known, self.now, effects)
                self.homes[home_plan.home_id] = home
            else:
                home.advance(self._event_time(home), self.now, effects)
                home.apply_plan(home_plan, shapes, self.plan.zone, item.at)
            for watch in home.watches:
                # Another hold, a sensor more or less: what is true may have changed though nobody has spoken.
                home.evaluate(watch, item.at, self.now, effects)
            home.deadline = home.next_deadline()
            self._touched(home_plan.home_id, home)
        for home_id in [home_id for home_id in self.homes if home_id not in names]:
            home = None if self.homes.sleeper(home_id) else self.homes[home_id]
            if home is not None and any(alarm.closed_at is None for alarm in home.cases.alarms.values()):
                # Taken out of the files with an open alarm: nobody has answered it for that.
                home.apply_plan(HomePlan(home_id, "", "", (), home.plan.ladders), Shapes(()), self.plan.zone, item.at)
                home.deadline = home.next_deadline()
                self._touched(home_id, home)
            else:
                del self.homes[home_id]
                self.dirty.add(home_id)

    def _wake_for(self, coming: Plan, *, same_rules: bool) -> None:
        """Wake whom another plan concerns while the rules are in force under which they fell asleep."""
        for home_plan in coming.homes:
            sleeper = self.homes.sleeper(home_plan.home_id)
            if sleeper is None:
                continue
            if same_rules and sleeper.plan == home_plan:
                self.homes.put_to_sleep(home_plan.home_id, sleeper._replace(plan=home_plan))  # the old one may go
            else:
                self.homes.get(home_plan.home_id)

    def use_plan(self, plan_hash: str) -> None:
        """Take the plan with this hash, without touching the homes (``restore`` does that for itself)."""
        self.plan = self._plan_of(plan_hash)
        self.plan_hash = plan_hash
        faults = [rule.condition.form is Form.FAULT for rule in self.plan.rules]
        self._box_shapes = Shapes(tuple(compress(self.plan.rules, faults)))
        self._shapes = Shapes(tuple(compress(self.plan.rules, map(not_, faults))))

    def shapes_for(self, home_plan: HomePlan) -> Shapes:
        """Give the rules that concern this home: the box's faults for the box, all others for the rest."""
        return self._box_shapes if home_plan.home_id == GATEWAY else self._shapes


def _test_text(command: Command) -> Notification:
    return Notification(
        notification_id=f"test.{command.command_id}",
        alarm_id="",
        home_id=GATEWAY,
        rule_id="",
        kind=NotificationKind.TEST,
        severity="info",
        step=0,
        recipient_id=command.target_id,
        due_at=command.at,
        params=(("actor", command.actor_id),),
    )
