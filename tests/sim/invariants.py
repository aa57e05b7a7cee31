"""What must hold in every world, by name, and how each is checked on what the world has left."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from sensor_guard.config import plan_from_text
from sensor_guard.decode.times import EARLIEST
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.plan import Ladder, Plan, Rule
from sensor_guard.journal import Journal
from sensor_guard.journal.tail import read_tail
from sensor_guard.model import (
    BAD_DEVICE_CLOCK,
    GATEWAY,
    HOUR,
    MINUTE,
    RETAINED,
    SECOND,
    Alarm,
    CommandKind,
    Drained,
    Effects,
    Instant,
    LinkLost,
    LinkUp,
)
from tests.sim.history import AlarmRow, History, Row
from tests.sim.oracle import Due, Oracle, signals
from tests.sim.residents import DATED, UNDATED, ZONE, read_as
from tests.sim.world import World


class Invariant(StrEnum):
    """In the order in which they are told: the more particular first."""

    NOTHING_RAISES = "NOTHING_RAISES"
    NO_ACKED_READING_LOST = "NO_ACKED_READING_LOST"
    NO_READING_TWICE = "NO_READING_TWICE"
    JOURNAL_REPLAY_EQUALS = "JOURNAL_REPLAY_EQUALS"
    ONLY_PEOPLE_CLOSE = "ONLY_PEOPLE_CLOSE"
    CRITICAL_NEVER_MUTED = "CRITICAL_NEVER_MUTED"
    SILENT_IS_NEVER_INACTIVITY = "SILENT_IS_NEVER_INACTIVITY"
    LOSS_IS_BLIND = "LOSS_IS_BLIND"
    DEADLINES_BEFORE_READINGS = "DEADLINES_BEFORE_READINGS"
    NO_ALARM_WITHOUT_CAUSE = "NO_ALARM_WITHOUT_CAUSE"
    NO_MISSED_ALARM = "NO_MISSED_ALARM"
    OPEN_ALARM_IS_ANSWERED_OR_ESCALATED = "OPEN_ALARM_IS_ANSWERED_OR_ESCALATED"
    NO_TEXT_MISSING = "NO_TEXT_MISSING"
    NO_TEXT_TWICE_WITHIN_WINDOW = "NO_TEXT_TWICE_WITHIN_WINDOW"
    HISTORY_IS_COMPLETE = "HISTORY_IS_COMPLETE"
    RESTART_CHANGES_NOTHING = "RESTART_CHANGES_NOTHING"
    TICK_SIZE_CHANGES_NOTHING = "TICK_SIZE_CHANGES_NOTHING"


class Found(NamedTuple):
    """A violation: which invariant, and what was seen."""

    invariant: Invariant
    detail: str


ABSENCES = {"electricity_low": "power", "no_movement": "motion", "water_none": "water"}
"""The rules that speak of inactivity, and the kind of their sensors."""
CALLS = ("alarm", "reminder", "unclosed")
SLACK = 3 * MINUTE
"""How late a step of a ladder may be while everything works: a commit, and a lease."""
FAULT_TOLERANCE = 6 * MINUTE


class Left:
    """A world that has ended, and what its journal says."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.script = world.script
        self.plan: Plan = world.config.plan
        self.history = History(world.disk.path)
        self.tolerance = 2 * SECOND if self.script.steps_clock else 0
        # In the time that the journal counts, as everything in ``history`` is.
        self.end = world.counted(world.end)
        self.downs = self._counted(world.downs)
        self.outages = {fault: self._counted(spans) for fault, spans in world.outages.items()}

    def _counted(self, spans: list[tuple[Instant, Instant]]) -> list[tuple[Instant, Instant]]:
        counted = self.world.counted
        return [(counted(begins), counted(ends)) for begins, ends in spans]

    def is_open(self, home_id: str, rule_id: str, at: Instant) -> bool:
        """Whether it was closed while the home's time stood still: then it counts from where the home stood.

        The oracle counts from the closing. Both may be, and until the hold is over anew neither is wrong.
        """
        holds = {rule.rule_id: rule.condition.hold_for for rule in self.plan.rules}
        closings = [
            step.at
            for step in self.history.steps
            if (step.home_id, step.rule_id, step.after) == (home_id, rule_id, "closed")
        ]
        return any(
            begins <= at <= ends + holds[rule_id] and any(begins <= closed <= ends for closed in closings)
            for begins, ends in self.history.frozen()
        )

    @cached_property
    def commands_at(self) -> list[Instant]:
        return sorted(self.history.true(one.at, seq) for seq, one in self.history.commands())

    @cached_property
    def due(self) -> dict[str, list[Due]]:
        """What every home should have raised, home by home."""
        end = self.history.true(self.history.batches[-1][1], self.history.batches[-1][0]) - self.plan.lateness
        found = {}
        for home_id in self.script.home_ids:
            plan = next(one for one in self.plan.homes if one.home_id == home_id)
            rules = tuple(rule for rule in self.plan.rules if rule.condition.form != "fault")
            oracle = Oracle(plan, rules, ZONE, self.history, end)
            found[home_id] = sorted(
                [*oracle.due, *signals(plan, self.history, self.plan.lateness, end)], key=lambda one: one.at
            )
        return found

    def raised(self, home_id: str) -> list[AlarmRow]:
        return sorted(
            (one for one in self.history.alarms.values() if one.home_id == home_id), key=lambda one: one.raised_at
        )

    def is_judged(self, home_id: str, rule_id: str) -> bool:
        """Whether the oracle's word on it is exact: a device without a time of its own is not, around a restart."""
        if home_id == UNDATED and (self.downs or self.outages.get("broker_offline")):
            return rule_id == "panic"
        return not (self.script.steps_clock and rule_id in ("door_open_night", "smoke"))

    def near_a_command(self, at: Instant, within: int = 8 * SECOND) -> bool:
        place = bisect_left(self.commands_at, at - within)
        return place < len(self.commands_at) and self.commands_at[place] <= at + within


# -- readings ------------------------------------------------------------------------------------------------------


def nothing_raises(left: Left) -> Iterator[str]:
    yield from left.world.raised_exceptions


def _stored(left: Left, *, with_retained: bool = True) -> Counter[tuple[object, ...]]:
    """How often each reading is there. A word without a time of its own may come a second time as a retained one."""
    found: Counter[tuple[object, ...]] = Counter()
    for _, one in left.history.raw_readings:
        if one.flags & RETAINED and not with_retained:
            continue
        mark = one.seq if one.seq >= 0 else (None if one.flags & BAD_DEVICE_CLOCK else one.observed_at)
        found[one.home_id, one.sensor_id, one.quantity, round(one.value, 6), mark] += 1
    return found


def _key(left: Left, uid: int) -> tuple[object, ...]:
    word = left.world.words[uid]
    quantity, value = read_as(word)
    said_at = left.world.said_at[uid]
    # A bridge that knows no time: its words are told apart by nothing.
    mark = word.seq if word.home_id in (DATED, UNDATED) else (said_at if said_at >= EARLIEST else None)
    return word.home_id, word.sensor_id, quantity, round(value, 6), mark


def no_acked_reading_lost(left: Left) -> Iterator[str]:
    stored = _stored(left)
    for uid in sorted(left.world.acked):
        if uid >= 0 and not stored[_key(left, uid)]:
            yield f"acknowledged and not in the journal: {_key(left, uid)}"
    lost = {packet.uid for packet in left.world.broker.lost}
    for uid in sorted(left.world.published - left.world.acked - lost):
        if uid >= 0 and not stored[_key(left, uid)]:
            yield f"the broker took it, did not lose it, and it never came: {_key(left, uid)}"
    for uid, at in _unstored(left):
        if not _is_disturbed(left, at):
            yield f"handed over with QoS 0 while all was well, and not in the journal: {_key(left, uid)}"


def _unstored(left: Left) -> Iterator[tuple[int, Instant]]:
    """What was handed over with QoS 0 and never stored, and when: the daemon may have been killed with it."""
    stored = _stored(left)
    return ((uid, at) for uid, at in left.world.broker.handed_over.items() if not stored[_key(left, uid)])


def _is_disturbed(left: Left, at: Instant) -> bool:
    """Whether the daemon or the connection went away just then: QoS 0 promises nothing across that."""
    gone = (*left.downs, *left.outages.get("broker_offline", ()))
    return any(begins - MINUTE <= at <= ends + MINUTE for begins, ends in gone)


def no_reading_twice(left: Left) -> Iterator[str]:
    stored = _stored(left, with_retained=False)
    said = Counter(_key(left, uid) for uid in left.world.said_at)
    yield from (f"stored {count} times: {key}" for key, count in stored.items() if count > max(1, said[key]))


def loss_is_blind(left: Left) -> Iterator[str]:
    """What the broker lost for good, it lost while the daemon knew itself blind, or told of what was dropped."""
    history = left.history
    blind = history.blind()
    told = any(row.rule_id in ("broker_dropped", "session_lost") for row in history.alarms.values())
    for packet in left.world.broker.lost:
        if packet.uid < 0 or packet.uid in left.world.acked:
            continue
        at = left.world.words[packet.uid].at
        if not any(begins - SECOND <= at <= ends for begins, ends in blind) and not told:
            yield f"lost, seen as nothing, and not told: {left.world.words[packet.uid]}"


def journal_replay_equals(left: Left) -> Iterator[str]:
    """The whole journal fed into a fresh engine gives the same steps and the same alarms."""
    with Journal.open(left.world.disk.path, readonly=True) as journal:
        engine = Engine(lambda plan_hash: plan_from_text(journal.plan(plan_hash).body))
        effects: list[Effects] = [
            engine.feed(tail.inputs, tail.now) for tail in read_tail(journal._db, 0, journal.last_seq)
        ]
        steps = [
            (one.alarm_id, one.field, one.after, one.at, one.reason) for each in effects for one in each.transitions
        ]
        stored = [
            tuple(row)
            for row in journal._db.execute(
                "SELECT alarm_id, subject, after, at, reason FROM trail WHERE what = 'transition' ORDER BY seq"
            )
        ]
        last: dict[str, Alarm] = {}
        for each in effects:
            last.update(each.alarms)
        alarms = {alarm.alarm_id: alarm for alarm in journal.reader.alarms(limit=100_000)}
    # What happens in two homes at the same instant has no order of its own.
    steps, stored = sorted(steps, key=_home_of), sorted(stored, key=_home_of)
    if steps != stored:
        other = next((pair for pair in zip(steps, stored, strict=False) if pair[0] != pair[1]), "one is longer")
        yield f"{len(steps)} steps replayed, {len(stored)} stored; first difference: {other}"
    differing = [one for one in alarms if alarms[one] != last.get(one)]
    if differing or set(last) - set(alarms):
        yield f"alarms differ: {differing[:3]} {sorted(set(last) - set(alarms))[:3]}"


def _home_of(step: tuple[object, ...]) -> str:
    return str(step[0]).partition(".")[0]


# -- alarms --------------------------------------------------------------------------------------------------------


def only_people_close(left: Left) -> Iterator[str]:
    history = left.history
    tests = [
        (history.true(one.at, seq), one.target_id, history.true(one.until or 0, seq), one.actor_id)
        for seq, one in history.commands()
        if one.kind == CommandKind.TEST_MODE
    ]
    for step in history.steps:
        if step.after != "closed" or not history.is_test_end(step):
            continue
        row = history.alarms[step.alarm_id]
        is_ended_test = row.is_test and any(
            home_id == step.home_id and begins <= step.at <= until and actor == step.actor_id
            for begins, home_id, until, actor in tests
        )
        if not is_ended_test:
            yield f"{step.alarm_id} was closed by {step.actor_id} at {step.at}, and nobody had said so"


def critical_never_muted(left: Left) -> Iterator[str]:
    for asked in left.world.asked:
        if (
            asked.command.kind == CommandKind.MUTE
            and asked.command.target_id in ("panic", "smoke")
            and not asked.answer
        ):
            yield f"a mute of {asked.command.target_id} was taken"
    for home_id in left.script.home_ids:
        alarms = [one for one in left.raised(home_id) if one.rule_id == "panic"]
        for _, one in left.history.readings:
            if one.home_id != home_id or one.quantity != "panic" or one.value != 1:
                continue
            at = min(one.observed_at, one.received_at)
            if not any(
                alarm.raised_at <= at + left.tolerance
                and (alarm.closed_at is None or alarm.closed_at >= at - left.tolerance)
                for alarm in alarms
            ):
                yield f"{home_id}: pressed at {at}, and no alarm was open"


def silent_is_never_inactivity(left: Left) -> Iterator[str]:
    """An absence is raised only while every sensor of its kind has spoken within the time for which its word counts."""
    heard: dict[tuple[str, str], list[Instant]] = defaultdict(list)
    for _, one in left.history.readings:
        if one.flags & RETAINED:
            continue
        if one.quantity not in ("battery_pct", "link") or one.sensor_id.startswith("motion"):
            heard[one.home_id, one.sensor_id].append(min(one.observed_at, one.received_at))
    for times in heard.values():
        times.sort()
    blind_for = sum(ends - begins for begins, ends in left.history.blind())
    plans = {one.home_id: one for one in left.plan.homes}
    for alarm in left.history.alarms.values():
        kind = ABSENCES.get(alarm.rule_id)
        for sensor in plans[alarm.home_id].sensors if kind else ():
            if sensor.kind != kind:
                continue
            times = heard[alarm.home_id, sensor.sensor_id]
            place = bisect_left(times, alarm.raised_at + 1)
            last = times[place - 1] if place else 0
            if alarm.raised_at - last > sensor.observed_for + blind_for + left.tolerance:
                yield f"{alarm.alarm_id}: {sensor.sensor_id} had been silent since {last}"


def _compared(left: Left) -> Iterator[tuple[str, list[Due], list[AlarmRow]]]:
    """Home by home: what is due and was not raised, what was raised and is not due."""
    for home_id in left.script.home_ids:
        missing = [one for one in left.due[home_id] if left.is_judged(home_id, one.rule_id)]
        surplus = []
        for alarm in left.raised(home_id):
            if not left.is_judged(home_id, alarm.rule_id):
                continue
            fitting = [
                one
                for one in missing
                if one.rule_id == alarm.rule_id and abs(one.at - alarm.raised_at) <= left.tolerance
            ]
            if fitting:
                missing.remove(fitting[0])
            else:
                surplus.append(alarm)
        missing = [one for one in missing if one.by != "perhaps"]
        # What lies within the lateness of a person's word may be decided before it or after it.
        yield (
            home_id,
            [
                one
                for one in missing
                if not left.near_a_command(one.at) and not left.is_open(home_id, one.rule_id, one.at)
            ],
            [
                one
                for one in surplus
                if not left.near_a_command(one.raised_at) and not left.is_open(home_id, one.rule_id, one.raised_at)
            ],
        )


def deadlines_before_readings(left: Left) -> Iterator[str]:
    """What was overdue when readings came was decided first, and bears its own time."""
    found, others = [], 0
    for home_id, missing, surplus in _compared(left):
        for one in missing:
            if _is_overtaken(left, home_id, one):
                late = [alarm for alarm in surplus if alarm.rule_id == one.rule_id and alarm.raised_at > one.at]
                found.append(
                    f"{home_id}: {one.rule_id} was due at {one.at}, before readings that were there; "
                    f"raised {late[0].raised_at if late else 'never'}"
                )
            else:
                others += 1
    if not others:  # what is missed in other ways too is told by another name
        yield from found


def _is_overtaken(left: Left, home_id: str, due: Due) -> bool:
    """Whether readings of a later time were there already when this could be decided."""
    history, lateness = left.history, left.plan.lateness
    decided = next((seq for seq, now in history.batches if history.true(now, seq) - lateness >= due.at), 0)
    theirs = [(seq, each) for seq, each in history.readings if each.home_id == home_id and each.observed_at >= due.at]
    if due.by != "hold":
        return False
    if any(seq <= decided for seq, _ in theirs):
        return True
    # Or did they come out of the broker's queue, after an outage in which the home's time stood still?
    first = theirs[0][0] if theirs else 0
    links = [item for seq, item in history.events if seq < first and isinstance(item, LinkLost | LinkUp | Drained)]
    return bool(links) and not isinstance(links[-1], Drained)


def no_alarm_without_cause(left: Left) -> Iterator[str]:
    for home_id, missing, surplus in _compared(left):
        for alarm in surplus:
            near = [one for one in missing if one.rule_id == alarm.rule_id]
            yield f"{home_id}: {alarm.alarm_id} (true time {alarm.raised_at}); due and not raised: {near}"
    for alarm in left.raised(GATEWAY):
        if not _fault_has_cause(left, alarm):
            yield f"{alarm.alarm_id} (true time {alarm.raised_at}): the world was well"


def _fault_has_cause(left: Left, alarm: AlarmRow) -> bool:
    world = left.world
    outages = left.outages.get(alarm.rule_id, [])
    if alarm.rule_id == "sms_offline" and (world.notifier.rates or world.script.sms_rates or world.script.fates):
        return True  # a channel that fails one text in five may look like an outage
    if alarm.rule_id in ("session_lost", "broker_dropped"):
        return bool(left.outages.get("broker_offline"))
    if alarm.rule_id == "device_gap":
        lost = world.broker.lost or world.faults["dead_sensor"] or world.faults["qos0_lost"]
        return bool(lost or next(_unstored(left), None))
    if alarm.rule_id == "broker_offline":
        outages = [*outages, *left.downs]
    late = 3 * HOUR if alarm.rule_id == "influxdb_offline" else 30 * MINUTE  # the mirror looks every two hours here
    return any(begins - MINUTE <= alarm.raised_at <= ends + late + FAULT_TOLERANCE for begins, ends in outages)


def no_missed_alarm(left: Left) -> Iterator[str]:
    for home_id, missing, _ in _compared(left):
        yield from (f"{home_id}: {one.rule_id} was due at {one.at} ({one.by})" for one in missing)
    alarms = left.raised(GATEWAY)
    for begins, ends in left.outages.get("broker_offline", []):
        if ends - begins < 3 * MINUTE or any(
            down_from < ends + MINUTE and down_to > begins - MINUTE for down_from, down_to in left.downs
        ):
            continue
        if not any(
            one.rule_id == "broker_offline"
            and one.raised_at <= ends
            and (one.closed_at is None or one.closed_at >= begins)
            for one in alarms
        ):
            yield f"the broker was gone from {begins} to {ends}, and nobody was told"


# -- people --------------------------------------------------------------------------------------------------------


def open_alarm_is_answered_or_escalated(left: Left) -> Iterator[str]:
    """Every step of every ladder came in its time until somebody answered, and again and again after the last one."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in left.history.outbox:
        rows[row.alarm_id].append(row)
    end = left.history.true(left.history.batches[-1][1], left.history.batches[-1][0])
    rules = {rule.rule_id: rule for rule in left.plan.rules}
    for alarm in left.history.alarms.values():
        if not alarm.is_test:
            yield from _climb(left, alarm, rules[alarm.rule_id], rows[alarm.alarm_id], end)


def _climb(left: Left, alarm: AlarmRow, rule: Rule, rows: list[Row], end: Instant) -> Iterator[str]:
    ladder = dict(next(one for one in left.plan.homes if one.home_id == alarm.home_id).ladders)[rule.ladder]
    history = left.history
    begins, asked = alarm.noticed_at, "unanswered"
    turns = [one for one in history.steps if one.alarm_id == alarm.alarm_id and one.field == "response"]
    spans: list[tuple[str, Instant, Instant]] = []
    for one in turns:
        at = history.fed_at(one.batch_seq)
        spans.append((asked, begins, at))
        begins, asked = at, one.after
    spans.append((asked, begins, end))
    for response, since, until in spans:
        idle = _idle(left, since, until) + SLACK
        theirs = [row for row in rows if since - SLACK <= row.created_at <= until + SLACK]
        if response == "unanswered":
            yield from _asked(alarm, ladder, theirs, since, until - idle)
        elif until - since - idle > ladder.remind_unclosed and response == "acknowledged":
            reminded = [row for row in theirs if row.kind == "unclosed"]
            if not reminded:
                yield f"{alarm.alarm_id}: answered, not closed since {since}, and nobody was reminded"


def _asked(alarm: AlarmRow, ladder: Ladder, rows: list[Row], since: Instant, until: Instant) -> Iterator[str]:
    calls = [row for row in rows if row.kind in CALLS]
    for number, step in enumerate(ladder.steps):
        if since + step.after > until:
            continue
        for person in step.recipient_ids:
            if not any(row.recipient_id == person and row.step <= number for row in calls):
                yield f"{alarm.alarm_id}: step {number} came, and {person} was never asked"
    rounds = (until - since - ladder.steps[-1].after) // ladder.repeat_every
    repeats = len({row.due_at for row in calls if row.step >= len(ladder.steps)})
    if rounds > 0 and repeats < rounds:
        yield f"{alarm.alarm_id}: nobody answered, and of {rounds} repetitions {repeats} came"


def _idle(left: Left, begins: Instant, ends: Instant) -> int:
    """How much of the time the daemon was not there to tell anybody."""
    return sum(max(0, min(ends, till) - max(begins, since)) for since, till in left.downs)


def _is_owed(left: Left, row: Row) -> bool:
    return row.state in ("pending", "sending", "ambiguous") and row.kind != "test"


def no_text_missing(left: Left) -> Iterator[str]:
    """Every text that was wanted is with the provider, or was given up or taken back with a reason."""
    bodies = Counter(code for text in left.world.notifier.twilio.texts for code in _codes(text.body))
    end = left.end
    codes = {row.notification_id: row.code for row in left.history.outbox}
    for row in left.history.outbox:
        code = codes.get(row.folded_into or "", row.code)
        if row.state in ("accepted", "delivered") and not bodies[code]:
            yield f"{row.notification_id} counts as {row.state}, and the provider never had it"
        elif row.state == "failed" and not row.reason:
            yield f"{row.notification_id} failed without a reason"
        elif _is_owed(left, row) and row.due_at < end - HOUR and not left.script.steps_clock:
            yield f"{row.notification_id} is {row.state} since {row.due_at}, with a channel that works"
    if left.script.has_second_channel:
        yield from _not_told_elsewhere(left)


def _not_told_elsewhere(left: Left) -> Iterator[str]:
    """A call for help that waits while the first channel is down goes out on the second one."""
    told = {code for _, code in left.world.second.told}
    answered = {one.alarm_id: one.acknowledged_at or one.closed_at or left.end for one in left.history.alarms.values()}
    for begins, ends in left.outages.get("sms_offline", []):
        for row in left.history.outbox:
            until = min(ends, answered.get(row.alarm_id, left.end))
            waited = row.severity == "critical" and row.kind in CALLS and begins <= row.created_at <= until - 5 * MINUTE
            if waited and not row.folded_into and row.code not in told and not _idle(left, row.created_at, until):
                yield f"{row.notification_id} waited from {row.created_at} to {until}, and nobody was told elsewhere"


def no_text_twice(left: Left) -> Iterator[str]:
    """The provider has each text once, but for those that the network gave up and that were sent again."""
    # A code is given anew after a week, and the clock may be set by a month: a text is the newest's that has its code.
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in left.history.outbox:
        rows[row.code].append(row)
    sent: dict[str, list[str]] = defaultdict(list)
    for text in left.world.notifier.twilio.texts:
        for code in _codes(text.body):
            before = [row for row in rows[code] if row.created_at <= text.created_at + left.tolerance]
            if before:
                sent[max(before, key=lambda row: row.created_at).notification_id].append(text.fate)
    for notification_id, fates in sent.items():
        if sum(fate not in ("failed", "undelivered") for fate in fates) > 1:
            yield f"{notification_id} went out {len(fates)} times"


def _codes(body: str) -> list[str]:
    return [word.strip("[]【】") for word in body.replace("[", " [").replace("]", "] ").split() if word.startswith("[")]


def history_is_complete(left: Left) -> Iterator[str]:
    """The mirror has every row, but for those that were buried by name."""
    missing = left.history.sink_rows - set(left.world.sink.rows)
    odd = sorted(seq for seq in missing if seq % 997 != 500 and seq < max(left.world.sink.rows, default=0) - 50)
    if odd:
        yield f"{len(odd)} rows were passed over: {odd[:5]}"


CHECKS: dict[Invariant, Callable[[Left], Iterator[str]]] = {
    Invariant.NOTHING_RAISES: nothing_raises,
    Invariant.NO_ACKED_READING_LOST: no_acked_reading_lost,
    Invariant.NO_READING_TWICE: no_reading_twice,
    Invariant.JOURNAL_REPLAY_EQUALS: journal_replay_equals,
    Invariant.ONLY_PEOPLE_CLOSE: only_people_close,
    Invariant.CRITICAL_NEVER_MUTED: critical_never_muted,
    Invariant.SILENT_IS_NEVER_INACTIVITY: silent_is_never_inactivity,
    Invariant.LOSS_IS_BLIND: loss_is_blind,
    Invariant.DEADLINES_BEFORE_READINGS: deadlines_before_readings,
    Invariant.NO_ALARM_WITHOUT_CAUSE: no_alarm_without_cause,
    Invariant.NO_MISSED_ALARM: no_missed_alarm,
    Invariant.OPEN_ALARM_IS_ANSWERED_OR_ESCALATED: open_alarm_is_answered_or_escalated,
    Invariant.NO_TEXT_MISSING: no_text_missing,
    Invariant.NO_TEXT_TWICE_WITHIN_WINDOW: no_text_twice,
    Invariant.HISTORY_IS_COMPLETE: history_is_complete,
}


def check(left: Left) -> list[Found]:
    """Everything that does not hold, the more particular first."""
    return [Found(invariant, detail) for invariant, look in CHECKS.items() for detail in look(left)]


def home_alarms(left: Left) -> list[tuple[str, str, Instant]]:
    """What two worlds of one seed must have in common: where every device says when, to the millisecond."""
    judged = [one for one in left.history.alarms.values() if one.home_id not in (GATEWAY, UNDATED)]
    return sorted((one.home_id, one.rule_id, one.raised_at) for one in judged)
