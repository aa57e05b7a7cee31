"""The body of the one loop: a turn takes what has arrived, stores it, decides, and stores what follows, in one commit.

No thread, no clock, no socket: line.py turns it, the command line turns it once where no daemon runs, and a test turns
it as it likes. What may be acknowledged, sent and answered is handed back only when it is on disk.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import structlog

from sensor_guard.clock import NOT_BEFORE, STEP_LIMIT
from sensor_guard.config import WrittenPlan, plan_from_text
from sensor_guard.engine import snapshot
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.plan import Plan
from sensor_guard.errors import SensorGuardError
from sensor_guard.gaps import FAULT, Gaps
from sensor_guard.health import Counters, count
from sensor_guard.inbox import Event, NewPlan, Probe, Request, Work
from sensor_guard.journal import (
    FOLDING,
    Batch,
    Folding,
    HomeState,
    Journal,
    JournalCorruptError,
    JournalUnavailableError,
)
from sensor_guard.model import (
    DEVICE_TIME,
    GATEWAY,
    HOUR,
    MINUTE,
    ClockKnown,
    ClockStepped,
    Command,
    DeliveryReport,
    Input,
    Instant,
    LinkLost,
    LinkUp,
    Message,
    Notification,
    NotificationState,
    PlanChanged,
    Quarantined,
    Reading,
    Span,
)
from sensor_guard.revive import link_of, revive
from sensor_guard.turn import MessageReader, Turn

CHECKPOINT_SLICE = 200
"""Homes whose state is written with one batch: about 600 kB, some 10 ms."""
CHECKPOINT_INPUTS = 20_000
CHECKPOINT_EVERY: Span = 5 * MINUTE
"""A checkpoint begins after so many inputs or so much time, so that a start replays no more than that."""

GAP_READINGS = 20_000
GAP_HOMES = 20_000
"""Of a larger journal the newest readings are looked through at a start for what devices had counted; and in a larger
community those that have said nothing lately are not looked up."""
WARN_LIMIT = 100
"""Topics of which a rejected message is logged in one hour; the counters have them all."""

_STEPS = {
    "raised": "alarm.raised",
    "cleared": "alarm.cleared",
    "unseen": "alarm.unseen",
    "seen_again": "alarm.seen_again",
    "recurred": "alarm.recurred",
    "acknowledged": "alarm.acknowledged",
    "closed": "alarm.closed",
}

log = structlog.get_logger(__name__)


class Core:
    """Journal and engine together. All methods are for the one thread that owns the journal."""

    def __init__(
        self,
        journal: Journal,
        plan: Plan | WrittenPlan,
        reader: MessageReader,
        *,
        channel: str = "",
        folding: Folding = FOLDING,
        counters: Counters | None = None,
    ) -> None:
        self.journal = journal
        self.counters = counters or Counters()
        self.engine = Engine(self.plan_of)
        self.gaps = Gaps()
        self.channel = channel
        self.unstored: dict[str, Notification] = {}
        """Texts that went out while the disk took nothing, by id; each is taken out once the outbox has it."""
        self._reader = reader
        self._folding = folding
        self._written = self._coming = plan if isinstance(plan, WrittenPlan) else WrittenPlan.of(plan)
        self._texts_wait = True
        self._warned: set[str] = set()  # topics told in this hour
        self._warned_hour = 0
        self._cycle: list[str] = []  # the homes of the checkpoint under way, or of the last one
        self._checkpoint_left: list[str] | None = None
        self._checkpoint_seq = 0
        self._checkpoint_link = ""
        self._inputs_since = 0
        self._checkpoint_at: Instant = 0
        self.is_refused = False
        """The disk has not taken the last commit, which is tried again."""
        self.damage: JournalCorruptError | None = None
        """The journal is damaged: a question has found it, and what it came with is to be finished first."""
        self._is_ahead = False  # the engine was fed with something that the journal does not have (yet)

    # -- starting -------------------------------------------------------------------------------------------------

    def restore(
        self,
        now: Instant,
        *,
        settle: bool = True,
        blind_start: bool = False,
        clock_known: bool | None = None,
        wake_all: bool = False,
    ) -> int:
        """Put the engine where it was, take the files' configuration in, and settle texts that were under way.

        Args:
            now: what time it is.
            settle: False leaves out the latter two, for a single command while no daemon runs.
            blind_start: the connection is not up yet: nothing that waits in the broker may be overtaken by a
                deadline, so the engine's time stands still where the last process ended.
            clock_known: whether ``now`` can be believed; None: as it was.
            wake_all: see ``revive``.

        Returns how many differences there were between what the tail gives now and what was stored: 0 unless the
        program has changed its mind since; each is stored and logged.

        Raises:
            JournalCorruptError: what is stored cannot be read.
        """
        differences, batches, is_changed = revive(self.journal, self.engine, now, wake_all=wake_all)
        if is_changed:
            with self.journal.batch(now) as batch:
                self.save_all(batch)
        self.counters.differences = differences
        if differences:
            log.error("journal.replay_differed", differences=differences)
        log.info("journal.restored", homes=len(self.engine.homes), batches=batches)
        self._checkpoint_at = now
        last_now = self.journal.last_now()
        if last_now is not None:
            last_now = max(last_now, self.engine.now)  # a checkpoint is no batch, and time alone may have led up to it
        # What was missing by then has been told; where the connection was gone, nothing was since.
        told_until = last_now if last_now is None or self.engine.drained else min(last_now, self.engine.frozen_at)
        self._follow_clock(last_now, now, clock_known)
        if blind_start:
            self._restore_gaps(now if told_until is None else told_until, now)
            self.commit(self.turn([LinkLost(min(now, self.journal.last_now() or now))], now))
        if not settle:
            return differences
        self.use_plan(self._written, now)
        for report in self.journal.ambiguous_at_start(now):
            self.commit(self.turn([report], now))
        return differences

    def look(self, now: Instant) -> None:
        """Put the engine where it was, for questions alone: nothing is stored, and nothing has come of the time since.

        Raises:
            JournalCorruptError: what is stored cannot be read.
        """
        revive(self.journal, self.engine, now, stores=False)
        last_now = self.journal.last_now() or now
        self.engine.feed([(self.journal.last_seq + 1, LinkLost(min(now, last_now)))], now)

    def _restore_gaps(self, until: Instant, now: Instant) -> None:
        """Go on counting where the last process ended; see ``Gaps.restore``."""
        reader = self.journal.reader
        newest = reader.readings_after(max(0, reader.head() - GAP_READINGS), GAP_READINGS)
        # All of them take a second for 50,000 homes, and a start is not to be held up: there, each begins anew.
        last = reader.last_readings() if len(self.engine.homes) <= GAP_HOMES else []
        self.gaps.restore((reading for _, reading in newest), last, until, self._written.plan.lateness)
        if self.has_fault(FAULT):
            self.gaps.remember(now)

    def _follow_clock(self, last_now: Instant | None, now: Instant, known: bool | None) -> None:
        """Take in what happened to the wall clock while no process looked."""
        if known is None:
            known = self.engine.clock_known or now >= NOT_BEFORE
        if not known and self.engine.clock_known:
            self.commit(self.turn([ClockKnown(min(now, last_now or now), known=False)], now))
        found_again = known and not self.engine.clock_known
        if last_now is not None and (now < last_now - STEP_LIMIT or found_again):
            # A box without a battery for its clock: what was counted moves with it, and back when the time is known.
            # How long the box was off in between nobody knows; nothing is counted for it.
            self.commit(self.turn([ClockStepped(last_now, now - last_now)], now))
        if found_again:
            self.commit(self.turn([ClockKnown(now, known=True)], now))

    def use_plan(self, plan: WrittenPlan, now: Instant) -> bool:
        """Put a configuration in force at once; False if it is in force already."""
        self._written = plan
        if plan.plan_hash == self.engine.plan_hash:
            return False
        self.commit(self.turn([NewPlan(plan)], now))
        return True

    def read_with(self, reader: MessageReader) -> None:
        """Read messages with this from the next turn on."""
        self._reader = reader

    def save_plan(self, batch: Batch) -> str:
        """Keep the files' configuration with this batch; its hash."""
        batch.save_plan(self._written.plan_hash, self._written.text())
        return self._written.plan_hash

    def has_told(self, fault_id: str) -> bool:
        """Say whether the box itself has this fault and its alarm is open."""
        return self.has_fault(fault_id) and self.engine.homes[GATEWAY].cases.open_alarm(fault_id) is not None

    def plan_of(self, plan_hash: str) -> Plan:
        """Give a configuration that is or was in force, or is on its way, by its hash."""
        for written in (self._written, self._coming):
            if plan_hash == written.plan_hash:
                return written.plan
        stored = self.journal.plan(plan_hash)
        if stored is None:
            raise JournalCorruptError(self.journal.path, f"the configuration {plan_hash} is missing")
        return plan_from_text(stored.body)

    def has_fault(self, fault_id: str) -> bool:
        """Say whether the engine has been told that this fault of the box is there."""
        gateway = self.engine.homes.get(GATEWAY)
        return gateway is not None and gateway.is_faulty(fault_id)

    def faults(self) -> tuple[str, ...]:
        """Name the faults of the box that hold now, muted and closed ones as well."""
        gateway = self.engine.homes.get(GATEWAY)
        if gateway is None:
            return ()
        # A closed one that has no hold of its own is not met for a day, however long it lasts.
        told = [w.rule.rule_id for w in gateway.watches if w.is_met or w.needs > w.condition.hold_for]
        return tuple(rule_id for rule_id in told if gateway.is_faulty(rule_id))

    # -- a turn ---------------------------------------------------------------------------------------------------

    def turn(self, events: Sequence[Event], now: Instant) -> Turn:
        """Decode what has arrived. Nothing is stored or decided yet."""
        turn = Turn(events, now)
        route, items, readings_of = self._reader.route, turn.items, turn.readings_of
        for event in events:
            if isinstance(event, Message):
                read = route(event)
                if isinstance(read, Quarantined):
                    self._put_aside(read, turn)
                else:
                    readings_of[len(items)] = read
                    items.append(event)
                continue
            turn.rest.append(event)
            item = event.event if isinstance(event, Request) else event
            if isinstance(item, NewPlan):
                turn.plan, self._coming = item, item.written
                item = PlanChanged(item.written.plan_hash, now)
            if not isinstance(item, (Work, Probe)) and not callable(item):
                items.append(item)
                turn.words.append(item)
        if self.engine.drained and not self.is_refused:  # else what is missing may be what waits, here or in the broker
            for fault in self.gaps.settle(now, self._written.plan.lateness):
                items.append(fault)
                turn.words.append(fault)
        return turn

    def _put_aside(self, message: Quarantined, turn: Turn) -> None:
        turn.quarantined.append(message)
        count(self.counters.quarantined, message.reason)
        self._warn_of(message)

    def _warn_of(self, message: Quarantined) -> None:
        """Say once an hour and topic that something cannot be read: it may be a cry on a topic that nobody listed."""
        hour = message.received_at // HOUR
        if hour != self._warned_hour:
            self._warned_hour = hour
            self._warned.clear()
        if message.topic not in self._warned and len(self._warned) < WARN_LIMIT:
            self._warned.add(message.topic)
            log.warning("reading.rejected", topic=message.topic[:200], reason=message.reason, detail=message.detail)

    def commit(self, turn: Turn, *, room: int = 0, critical_only: bool = False) -> None:
        """Store, decide and store what follows, in one transaction.

        Args:
            turn: as ``turn`` made it, or as a failed ``commit`` left it.
            room: how many texts the worker can take now; they are in ``turn.leased`` afterwards.
            critical_only: the worker takes nothing else now.

        Raises:
            JournalUnavailableError: nothing is stored; commit the same turn again later.
        """
        turn.leased, turn.marked = [], []
        if turn.effects is None and not turn.items:
            turn.effects = self.engine.feed([], turn.now)
        if self._is_empty(turn, room):
            self._answer_probes(turn)
            return
        try:
            with self.journal.batch(turn.now) as batch:
                self._write(batch, turn, room, critical_only=critical_only)
        except BaseException:
            self.is_refused = True
            self._is_ahead = turn.effects is not None
            # What this checkpoint has covered so far is not on disk: it begins again, with all its homes.
            self.engine.dirty.update(self._cycle)
            self._checkpoint_left = None
            raise
        self._is_ahead = self.is_refused = False
        self._after(turn)

    def _is_empty(self, turn: Turn, room: int) -> bool:
        """Say whether there is nothing to write: time has passed and nothing has come of it."""
        effects = turn.effects
        if effects is None or effects or effects.alarms or (room > 0 and self._texts_wait):
            return False
        if len(turn.rest) < len(turn.events) or any(not isinstance(event, Probe) for event in turn.rest):
            return False
        return self._checkpoint_left is None and not self._checkpoint_is_due(turn.now)

    def _write(self, batch: Batch, turn: Turn, room: int, *, critical_only: bool) -> None:
        if turn.plan is not None:
            self._written = turn.plan.written
            batch.save_plan(self._written.plan_hash, self._written.text())
        numbered = turn.stored = self._append(batch, turn)
        batch.quarantine(turn.quarantined)
        if turn.effects is None:
            turn.effects = self.engine.feed(numbered, turn.now)
        # Before, so that one that is called back now is known to be under way; after, for those that begin now.
        turn.marked = batch.mark_sent(self.unstored.values())
        batch.record(turn.effects)
        turn.marked += batch.mark_sent(self.unstored.values())
        for event in turn.rest:
            if isinstance(event, Work):
                event.apply(batch)
        self._texts_wait = self._texts_wait or bool(turn.effects.notifications)
        if room > 0 and self._texts_wait:
            turn.leased = batch.lease(
                turn.now, room, channel=self.channel, folding=self._folding, critical_only=critical_only
            )
        self._inputs_since += len(numbered)
        if any(isinstance(item, ClockStepped) for item in turn.words):
            # Rows from before the step and rows from after it do not mix.
            self.save_all(batch, only=set(self.engine.homes) | self.engine.dirty)
        elif turn.plan is not None:
            # Nor do rows of homes that it concerns. The others' are the same under either.
            self._cycle = sorted(self.engine.dirty | set(self._checkpoint_left or ()))
            self.save_all(batch, only=set(self._cycle))
        else:
            self._checkpoint(batch, turn.now)

    def _append(self, batch: Batch, turn: Turn) -> list[tuple[int, Input]]:
        """Number and store the turn's inputs in their order."""
        numbered: list[tuple[int, Input]] = []
        waiting: list[Reading] = []
        for place, item in enumerate(turn.items):
            if isinstance(item, Message):
                readings = turn.readings_of[place]
                if not self._is_copy(batch, item, readings):
                    waiting.extend(readings)
                continue
            numbered.extend(self._stored(batch, waiting))
            waiting = []
            if isinstance(item, DeliveryReport):
                self._texts_wait = self._texts_wait or item.state == NotificationState.PENDING
                numbered.extend((batch.append_event(told), told) for told in batch.report_all(item))
                continue
            if isinstance(item, ClockStepped):
                batch.shift_texts(item.offset)
            numbered.append((batch.append_event(item), item))
        numbered.extend(self._stored(batch, waiting))
        return numbered

    def _stored(self, batch: Batch, readings: list[Reading]) -> list[tuple[int, Reading]]:
        numbered = batch.append_readings(readings)
        self.counters.duplicates += len(readings) - len(numbered)
        return numbered

    def _is_copy(self, batch: Batch, message: Message, readings: list[Reading]) -> bool:
        # Readings with the device's own time are known by it; the others only by the packet that brought them.
        if message.qos == 0:
            return False
        for reading in readings:  # no any(): it makes a generator for each message
            if reading.flags & DEVICE_TIME:
                return False
        lane = "urgent" if message.urgent else "bulk"
        return batch.seen_packet(lane, message.packet_id, message.payload, duplicate=message.duplicate)

    def _after(self, turn: Turn) -> None:
        counters, effects = self.counters, turn.effects
        assert effects is not None
        self._watch_gaps(turn)
        for notification_id in turn.marked:
            self.unstored.pop(notification_id, None)
        counters.batches += 1
        counters.messages += len(turn.events) - len(turn.rest)
        counters.readings += sum(map(len, turn.readings_of.values()))
        for transition in effects.transitions:
            _, rule_id, _ = transition.alarm_id.split(".")
            if transition.reason == "raised":
                count(counters.raised, rule_id)
            log.info(
                _STEPS.get(transition.reason, "alarm.changed"),
                alarm_id=transition.alarm_id,
                rule_id=rule_id,
                at=transition.at,
                actor_id=transition.actor_id,
            )
        for item in turn.words:
            if isinstance(item, DeliveryReport):
                count(counters.notifications, item.state)
            elif isinstance(item, Command):
                counters.commands += 1
        if turn.plan is not None:
            plan = turn.plan.written.plan
            self._checkpoint_at = turn.now
            self.gaps.keep({(home.home_id, sensor.sensor_id) for home in plan.homes for sensor in home.sensors})
            log.info(
                "plan.changed",
                plan_hash=turn.plan.written.plan_hash[:12],
                homes=len(plan.homes),
                rules=len(plan.rules),
                changed=len(self._cycle),
            )
            turn.plan.taken()
        refused = dict(effects.refused)
        for event in turn.rest:
            if isinstance(event, Request):
                if isinstance(event.event, Command):
                    turn.answers.append((event.reply, refused.get(event.event.command_id)))
                else:
                    turn.answers.append((event.reply, self.ask(event.event) if callable(event.event) else None))
        self._answer_probes(turn)
        if self._texts_wait and not turn.leased:
            # The turn is on disk: a read that fails behind it must not have it committed a second time.
            with suppress(JournalUnavailableError):
                self._texts_wait = self.journal.next_text_at() is not None

    def _answer_probes(self, turn: Turn) -> None:
        for event in turn.rest:
            if isinstance(event, Probe):
                turn.answers.append((event.reply, self.ask(event.question) if event.question is not None else None))

    def ask(self, question: Callable[[], object]) -> object:
        """Give the answer, or the text of the refusal: whatever a question meets is the caller's, not the loop's.

        But for a damaged journal: that is ``damage`` from here on, and the caller is told as well.
        """
        try:
            return question()
        except JournalCorruptError as error:
            self.damage = error
            return str(error)
        except SensorGuardError as error:
            return str(error)
        except Exception as error:
            log.exception("question.failed")
            return f"internal error: {type(error).__name__}: {error}"

    def _watch_gaps(self, turn: Turn) -> None:
        gaps = self.gaps
        saw = gaps.saw
        for _, item in turn.stored:
            if isinstance(item, Reading):
                if item.seq >= 0:
                    saw(item)
            elif isinstance(item, LinkUp) and item.blind_from is not None:
                gaps.blind(item.blind_from, item.at)
            elif isinstance(item, ClockStepped):
                gaps.shift(item.offset)
        self.counters.device_gaps = gaps.missing_count

    def next_due(self, *, room_at: Instant, critical_room_at: Instant | None = None) -> Instant | None:
        """When the next turn should come though nothing arrives; None: not at all.

        room_at: when the worker can take another text; before that a waiting one is no reason for a turn.
        critical_room_at: when it can take a critical one, if that is earlier.
        """
        dues = [self.engine.next_deadline()]
        if self._texts_wait:
            rooms = [(room_at, False)]
            if critical_room_at is not None and critical_room_at < room_at:
                rooms.append((critical_room_at, True))
            for at, critical_only in rooms:
                try:
                    text_at = self.journal.next_text_at(critical_only=critical_only)
                except JournalUnavailableError:
                    continue  # the next turn's commit meets it too, and waits for the disk
                dues.append(None if text_at is None else max(text_at, at))
        return min((due for due in dues if due is not None), default=None)

    # -- checkpoints ----------------------------------------------------------------------------------------------

    def _checkpoint_is_due(self, now: Instant) -> bool:
        due = self._inputs_since >= CHECKPOINT_INPUTS or now - self._checkpoint_at >= CHECKPOINT_EVERY
        return due and bool(self.engine.dirty)

    def _checkpoint(self, batch: Batch, now: Instant) -> None:
        """Write the state of homes that changed, a slice a batch; when all are there, a restart begins here."""
        if self._checkpoint_left is None:
            if not self._checkpoint_is_due(now):
                return
            self._cycle = self._checkpoint_left = sorted(self.engine.dirty)
            self._checkpoint_seq = batch.seq
            self._checkpoint_link = _dump(link_of(self.engine))
            self._inputs_since, self._checkpoint_at = 0, now
            self.engine.dirty.clear()
        slice_, self._checkpoint_left = (
            self._checkpoint_left[:CHECKPOINT_SLICE],
            self._checkpoint_left[CHECKPOINT_SLICE:],
        )
        self._save(batch, slice_)
        if not self._checkpoint_left:
            batch.save_tail(self._checkpoint_seq, self._checkpoint_link)
            self._checkpoint_left = None
            # self._cycle stays until the next one: should this very commit fail, its homes are dirty again.

    def checkpoint_all(self, now: Instant) -> None:
        """Write every changed home at once, so that the next start replays nothing (clean stop).

        Nothing is written while the engine is ahead of the journal, after a commit that failed: a state with inputs
        in it that nobody has stored would feed them twice, and lose the texts that they caused.
        """
        if self._is_ahead:
            log.warning("checkpoint.left_out")
            return
        with self.journal.batch(now) as batch:
            self.save_all(batch, only=self.engine.dirty | set(self._checkpoint_left or ()))

    def save_all(self, batch: Batch, *, only: set[str] | None = None) -> None:
        """Write the state of every home (or of ``only`` these) with this batch: a restart begins behind it."""
        stored = {row.home_id for row in self.journal.home_states()} if only is None else set()
        self._save(batch, sorted((set(self.engine.homes) | stored) if only is None else only))
        batch.save_tail(batch.seq, _dump(link_of(self.engine)))
        self.engine.dirty.clear()
        self._checkpoint_left = None
        self._inputs_since = 0

    def _save(self, batch: Batch, home_ids: list[str]) -> None:
        homes, plan_hash, seq = self.engine.homes, self.engine.plan_hash, batch.seq

        def states() -> Iterator[HomeState]:
            for home_id in home_ids:
                sleeper = homes.sleeper(home_id)
                if sleeper is not None and sleeper.blind is None:
                    continue  # it is as its row says
                if home_id in homes:
                    home = homes[home_id]
                    row, sleep = _dump(snapshot.save_home(home)), snapshot.sleep_of(home) or (None, None)
                    yield HomeState(home_id, seq, snapshot.SCHEMA, plan_hash, row, *sleep)

        batch.save_home_states(states())
        batch.delete_home_states(home_id for home_id in home_ids if home_id not in homes)


def _dump(row: dict[str, Any]) -> str:
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False)
