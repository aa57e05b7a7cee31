"""The whole way in under fire: decoders, core, a real journal. What must hold is in ``Fuzz``."""

import io
import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import structlog

from sensor_guard.core import Core
from sensor_guard.decode import Router
from sensor_guard.decode.times import AHEAD, EARLIEST
from sensor_guard.engine.plan import HomePlan, Plan, Sensor
from sensor_guard.journal import Journal
from sensor_guard.journal.quarantine import ROW_LIMIT
from sensor_guard.model import (
    DEVICE_TIME,
    GATEWAY,
    HOUR,
    KIND_OF_QUANTITY,
    KINDS,
    MINUTE,
    RANGES,
    RETAINED,
    SECOND,
    Instant,
    Message,
    Quantity,
    Quarantined,
    Reading,
    RejectReason,
)
from sensor_guard.testing import default_ladders
from tests.fuzz.payloads import HOMES, KEEPER, START, Mutator, topics
from tests.spec.conftest import GATEWAY_RULES, RULES

BATCH = 250
EDGES = (Quantity.MOTION, Quantity.PANIC)


class FuzzError(AssertionError):
    """Something that must hold does not; the message is small enough to be read, and names the input."""


@dataclass
class Report:
    """What was thrown, and what came of it."""

    payloads: int = 0
    timestamps: int = 0
    read: int = 0
    readings: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    quarantine_rows: int = 0
    alarms: Counter[str] = field(default_factory=Counter)
    keeper: list[tuple[str, str]] = field(default_factory=list)
    log_lines: int = 0
    times_believed: int = 0
    times_refused: int = 0


def fuzz_plan(known: dict[str, object]) -> Plan:
    """The shipped rules over the homes under fire and the keeper's."""
    homes = []
    for home_id in (KEEPER, *HOMES):
        sensors = {
            entry.sensor_id: Sensor(entry.sensor_id, entry.kind, KINDS[entry.kind].observed_for)  # type: ignore[attr-defined]
            for entry in known.values()
            if entry.home_id == home_id  # type: ignore[attr-defined]
        }
        homes.append(HomePlan(home_id, "s1", "b1", tuple(sensors.values()), default_ladders()))
    return Plan(
        tuple(RULES + GATEWAY_RULES), (*homes, HomePlan(GATEWAY, "", "", (), default_ladders())), lateness=5 * SECOND
    )


class Fuzz:
    """Throw ``payloads`` messages at a core with a real journal, a known scenario of the keeper's in between.

    Every message is read or refused with a reason, and the counts add up; nothing raises; what is read is within the
    model's ranges and plausible in time; the keeper's alarms rise exactly when they should, and no others of his; an
    alarm of another home has a plain reading as its cause; every line of the log is one line of JSON.
    """

    def __init__(self, path: Path, seed: int, payloads: int) -> None:
        self.report = Report()
        self._rng = Random(f"{seed}:fuzz")
        self._known = topics()
        self._router = Router(self._known)
        hit = [topic for topic in self._known if f"/{KEEPER}/" not in topic]
        self._mutator = Mutator(seed, hit)
        self._payloads = payloads
        self._path = path
        self._now: Instant = START
        self._packet = 0
        self._log = io.StringIO()
        self._expected: list[tuple[str, Instant]] = []
        self._cries: dict[str, set[str]] = {}  # home -> what a plain reading has cried

    def run(self) -> Report:
        structlog.configure(
            processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer(ensure_ascii=False)],
            logger_factory=structlog.PrintLoggerFactory(self._log),
            cache_logger_on_first_use=False,
        )
        try:
            with Journal.open(self._path) as journal:
                journal._db.execute("PRAGMA synchronous = OFF")
                core = Core(journal, fuzz_plan(self._known), self._router)
                core.restore(START)
                # The time of a whole run is the keeper's three days, however many payloads there are.
                batches = max(1, self._payloads // BATCH)
                for number in range(batches):
                    size = BATCH if number < batches - 1 else self._payloads - BATCH * (batches - 1)
                    self._turn(core, size, START + (number + 1) * 72 * HOUR // batches)
                self._look(core, journal)
        finally:
            structlog.reset_defaults()
        return self.report

    # -- a turn ---------------------------------------------------------------------------------------------------

    def _turn(self, core: Core, size: int, until: Instant) -> None:
        """Fuzz and the keeper's own words, each at its time, in one or more batches up to ``until``."""
        words = self._keeper(self._now, until)
        gap = max(1, (until - self._now) // (size + 1))
        thrown = [self._throw(self._now + gap * (n + 1)) for n in range(size)]
        messages = sorted([*words, *thrown], key=lambda one: one.received_at)
        before = core.counters.readings, sum(core.counters.quarantined.values()), core.counters.duplicates
        for start in range(0, len(messages), 500):
            part = messages[start : start + 500]
            self._commit(core, part, part[-1].received_at)
        self._now = until
        self._commit(core, [], until)
        counters = core.counters
        refused = sum(counters.quarantined.values()) - before[1]
        self.report.payloads += size
        self.report.duplicates += counters.duplicates - before[2]
        if self._read + refused != len(messages) or counters.readings - before[0] != self._said:
            raise FuzzError(f"{len(messages)} messages, {self._read} read and {refused} refused; {self._said} readings")
        self._read = self._said = 0

    _read = 0
    _said = 0

    def _commit(self, core: Core, messages: Sequence[Message], now: Instant) -> None:
        turn = core.turn(messages, now)
        core.commit(turn)
        for transition in turn.effects.transitions if turn.effects else ():
            if transition.reason == "raised":
                self._raised(transition.alarm_id, transition.at)

    def _throw(self, now: Instant) -> Message:
        message = self._mutator.message(now)
        self._judge(message)
        return message

    def _judge(self, message: Message) -> list[Reading]:
        """One message through the decoders alone, looked at closely; the core reads it once more for itself."""
        answer = self._router.route(message)
        if isinstance(answer, Quarantined):
            if answer.reason not in set(RejectReason) or answer.reason == RejectReason.DECODER_FAILED:
                raise FuzzError(f"{answer.reason} ({answer.detail}): {message!r}"[:600])
            if "\n" in answer.detail or len(answer.detail) > 200:
                raise FuzzError(f"detail {answer.detail!r} of {message!r}"[:600])
            self.report.rejected[answer.reason] += 1
            return []
        self._read += 1
        self._said += len(answer)
        self.report.read += 1
        self.report.readings += len(answer)
        entry = self._known.get(message.topic.removesuffix("/availability"))
        for one in answer:
            lowest, highest = RANGES[one.quantity]
            kind = KIND_OF_QUANTITY.get(one.quantity)
            sound = (
                entry is not None
                and (one.home_id, one.sensor_id) == (entry.home_id, entry.sensor_id)
                and type(one.value) is float
                and lowest <= one.value <= highest
                and kind in (None, entry.kind)
                and one.received_at == message.received_at
                and is_plausible(one)
                and not (message.retained and (one.quantity in EDGES or not one.flags & RETAINED))
            )
            if not sound:
                raise FuzzError(f"{one} of {message!r}"[:600])
            if one.value == 1.0 and one.quantity in (Quantity.SMOKE, Quantity.PANIC):
                self._cries.setdefault(one.home_id, set()).add(one.quantity)
        return answer

    # -- the keeper -----------------------------------------------------------------------------------------------

    def _keeper(self, since: Instant, until: Instant) -> list[Message]:
        """Electricity low from 2 h on, the button at 30 h, a tap left on at 40 h; everything else quiet and well."""
        words = []
        for at in range(-(-since // (20 * MINUTE)) * 20 * MINUTE + 1, until, 20 * MINUTE):
            if at <= since:
                continue
            hour = (at - START) / HOUR
            words.append(self._word("power", {"power_w": 60 if hour < 2 or hour > 20 else 3}, at))
            words.append(self._word("water", {"flow_l_min": 5 if 40 <= hour < 43 else 0}, at))
            if (at - START) // (20 * MINUTE) % 9 == 0:
                words.append(self._word("motion", {"motion": 1}, at))
                words.append(self._word("door", {"door_open": 0}, at))
                words.append(self._word("smoke", {"smoke": 0, "battery_pct": 90}, at))
                words.append(self._word("panic", {"battery_pct": 90}, at))
        pressed = START + 30 * HOUR + 7 * MINUTE
        if since < pressed <= until:
            words.append(self._word("panic", {"panic": 1}, pressed))
        for one in words:
            self._judge_keeper(one)
        return words

    def _judge_keeper(self, message: Message) -> None:
        answer = self._router.route(message)
        if isinstance(answer, Quarantined):
            raise FuzzError(f"the keeper's own word was refused: {answer}")
        self._read += 1
        self._said += len(answer)

    def _word(self, sensor: str, body: dict[str, float], at: Instant) -> Message:
        self._packet = self._packet % 65_535 + 1
        payload = json.dumps({**body, "ts": at}).encode()
        return Message(f"guard/s1/{KEEPER}/{sensor}", payload, 1, False, False, self._packet, 0, at)

    def _raised(self, alarm_id: str, at: Instant) -> None:
        home_id, rule_id, _ = alarm_id.split(".")
        self.report.alarms[rule_id] += 1
        if home_id == KEEPER:
            self.report.keeper.append((rule_id, _clock(at)))
        elif rule_id in ("smoke", "panic") and rule_id not in self._cries.get(home_id, ()):
            raise FuzzError(f"{alarm_id} rose, and no message had said it")

    # -- afterwards -----------------------------------------------------------------------------------------------

    def _look(self, core: Core, journal: Journal) -> None:
        report = self.report
        db: sqlite3.Connection = journal._db
        report.stored = db.execute("SELECT count(*) FROM readings").fetchone()[0]
        report.quarantine_rows = db.execute("SELECT count(*) FROM quarantine").fetchone()[0]
        counted = dict(db.execute("SELECT name, count FROM counters WHERE scope = 'quarantine'"))
        if counted != dict(report.rejected):
            raise FuzzError(f"counted in the journal: {counted}; thrown: {dict(report.rejected)}")
        if report.quarantine_rows > ROW_LIMIT:
            raise FuzzError(f"{report.quarantine_rows} rows in quarantine")
        # A packet that is a copy of one before counts as read, and its readings are not stored again.
        if not 0 < report.stored <= core.counters.readings - core.counters.duplicates:
            raise FuzzError(
                f"{report.stored} stored of {core.counters.readings}, {core.counters.duplicates} duplicates"
            )
        odd = db.execute("SELECT count(*) FROM readings WHERE value != value OR abs(value) > 1e10").fetchone()[0]
        if odd or journal.check(full=True):
            raise FuzzError(f"{odd} odd values; {journal.check(full=True)}")
        wanted = [("electricity_low", "14h0m"), ("water_none", "24h0m"), ("panic", "30h7m"), ("water_running", "42h0m")]
        if report.keeper != wanted:
            raise FuzzError(f"the keeper's alarms: {report.keeper}; due were {wanted}")
        text = self._log.getvalue()
        report.log_lines = text.count("\n")
        for line in text.splitlines() if "\r" not in text and "\u2028" not in text else text.split("\n")[:-1]:
            if not isinstance(json.loads(line), dict):
                raise FuzzError(f"a line of the log: {line[:300]}")


def is_plausible(one: Reading) -> bool:
    """Whether a reading's time can be believed, or is ours."""
    if one.flags & DEVICE_TIME:
        return EARLIEST <= one.observed_at <= one.received_at + AHEAD
    return one.observed_at == one.received_at


def _clock(at: Instant) -> str:
    minutes = (at - START) // MINUTE
    return f"{minutes // 60}h{minutes % 60}m"
