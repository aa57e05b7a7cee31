"""What must hold whatever was done to the box, by name; and the count of what did not."""

import json
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from sensor_guard.journal import Reader
from sensor_guard.model import DAY, Instant
from tests.faults.box import Box
from tests.faults.load import Incident
from tests.faults.processes import LimitError, say, until

CLOCKS_DIFFER = 0.25
"""Real seconds by which a PUBACK may be written down later, or a gap noticed later, than it happened."""
SHOWN = 3


class Invariant(StrEnum):
    """The promises, as the faults table names them."""

    NO_ACKED_READING_LOST = "NO_ACKED_READING_LOST"  # what the broker acknowledged is in the journal
    NO_READING_TWICE = "NO_READING_TWICE"
    NO_PHANTOM = "NO_PHANTOM"  # and nothing else is
    EVERY_ALARM_ONCE = "EVERY_ALARM_ONCE"
    NO_ALARM_WITHOUT_CAUSE = "NO_ALARM_WITHOUT_CAUSE"
    EVERY_TEXT_AT_LEAST_ONCE = "EVERY_TEXT_AT_LEAST_ONCE"  # in the outbox once, at the provider once or more
    NO_TEXT_TWICE = "NO_TEXT_TWICE"
    LOSS_IS_NOTICED = "LOSS_IS_NOTICED"  # what a broker lost lies in a stretch that the journal calls blind
    THREADS_ALIVE = "THREADS_ALIVE"
    RECONNECTED = "RECONNECTED"  # within ten seconds, on a machine that is not busy
    JOURNAL_SOUND = "JOURNAL_SOUND"
    HISTORY_COMPLETE = "HISTORY_COMPLETE"  # every row of the journal is in InfluxDB once
    FAILPOINT_REACHED = "FAILPOINT_REACHED"  # the harness itself did what it says


@dataclass
class Verdict:
    """What was counted. ``violations``: invariant -> how often, and a few examples."""

    published: int = 0
    acknowledged: int = 0
    stored: int = 0
    lost: int = 0  # acknowledged, and not in the journal
    lost_noticed: int = 0  # of these, in a blind stretch
    duplicated: int = 0
    duplicates_allowed: int = 0  # sent twice by the publisher, or again by a broker that has forgotten
    phantoms: int = 0
    alarms_expected: int = 0
    alarms_found: int = 0
    texts_expected: int = 0
    texts_sent: int = 0
    texts_twice: int = 0
    blind_stretches: int = 0
    violations: dict[Invariant, list[str]] = field(default_factory=dict)
    counts: Counter = field(default_factory=Counter)

    def wrong(self, invariant: Invariant, example: str, count: int = 1) -> None:
        self.counts[invariant] += count
        examples = self.violations.setdefault(invariant, [])
        if len(examples) < SHOWN:
            examples.append(example)

    @property
    def is_green(self) -> bool:
        return not self.violations

    def words(self) -> str:
        return "\n".join(
            f"{invariant} x{self.counts[invariant]}: {'; '.join(examples)}"
            for invariant, examples in self.violations.items()
        )


def settle(box: Box) -> None:
    """Wait until nothing more is to come: every reading stored or known to be lost, every text under way."""
    if box.daemon is None or box.daemon.poll() is not None:
        box.start_daemon()
    try:
        box.wait_up(box.setup.settle_within)
        if not _readings_are_there(box):
            return  # it will be red: what did not come raises no alarm, and that need not be waited for
        expected = _expected(box, {n for (n,) in box.query("SELECT device_seq FROM readings")})
        until(lambda: set(expected) <= set(_alarms(box)), box.setup.settle_within, "the last alarm")
        until(lambda: not _open_texts(box), box.setup.settle_within, "the last text")
        if box.setup.with_influxdb:
            until(lambda: _in_history(box) >= _count(box), box.setup.settle_within, "the last row in InfluxDB")
    except LimitError as error:
        say(f"  not settled: {error}")  # what is missing is counted below
    health = box.health()
    if health.get("stuck"):
        box.wrong(Invariant.THREADS_ALIVE, f"stuck: {health['stuck']}")


def judge(box: Box) -> Verdict:
    """Count, once everything has settled and the daemon has ended."""
    verdict = Verdict()
    for name, what in box.tally.wrong:
        verdict.wrong(Invariant(name), what)
    assert box.daemon is not None
    if box.daemon.poll() is None and box.stop_daemon() != 0:
        verdict.wrong(Invariant.THREADS_ALIVE, "it did not end with 0")
    for name in ("thread.failed", "mqtt.turn_failed", "mqtt.message_failed", "question.failed"):
        if f'"event": "{name}"' in box.log_text():
            verdict.wrong(Invariant.THREADS_ALIVE, f"the log says {name}")
    stored = _judge_readings(box, verdict)
    _judge_alarms(box, verdict, stored)
    _judge_texts(box, verdict)
    _judge_faults(box, verdict)
    with Reader.open(box.journal) as reader:
        for fault in reader.check(full=True):
            verdict.wrong(Invariant.JOURNAL_SOUND, fault)
    if box.setup.with_influxdb and (kept := _in_history(box)) != _count(box):
        verdict.wrong(Invariant.HISTORY_COMPLETE, f"{kept} rows in InfluxDB, {_count(box)} in the journal")
    return verdict


# -- readings --------------------------------------------------------------------------------------------------------


def _judge_readings(box: Box, verdict: Verdict) -> set[int]:
    ledger, verdict.published = box.ledger(), box.published()
    rows = box.query(
        "SELECT device_seq, home_id, sensor_id, name, value, flags & 1 FROM readings"
        " JOIN sensors ON sensors.id = sensor JOIN quantities ON quantities.id = quantity"
    )
    counts: Counter = Counter()
    for n, *said, own_time in rows:
        counts[n] += 1
        if (
            not 0 <= n < verdict.published
            or tuple(said) != box.load.said(n)[:4]
            or bool(own_time) != box.load.said(n)[4]
        ):
            verdict.phantoms += 1
            verdict.wrong(Invariant.NO_PHANTOM, f"reading {n}: {said}")
    verdict.acknowledged, verdict.stored = len(ledger), len(counts)
    may_repeat = box.tally.broker_kills + box.tally.broker_restarts > 0
    for n, count in counts.items():
        if count == 1:
            continue
        if may_repeat and not box.load.said(n)[4]:
            verdict.duplicates_allowed += count - 1
        else:
            verdict.duplicated += count - 1
            verdict.wrong(Invariant.NO_READING_TWICE, f"reading {n} x{count}", count - 1)
    lost = sorted(n for n in ledger if n not in counts and n >= box.first_judged)
    verdict.lost = len(lost)
    stretches = blind_stretches(box)
    verdict.blind_stretches = len(stretches)
    may_lose = _may_lose(box)
    slack = round(CLOCKS_DIFFER * 1_000 * box.setup.factor)
    for n in lost:
        if not may_lose:
            verdict.wrong(Invariant.NO_ACKED_READING_LOST, f"reading {n}")
        elif any(since - slack <= ledger[n] <= until_ + slack for since, until_ in stretches):
            verdict.lost_noticed += 1
        else:
            early = min(
                ((since - ledger[n]) / 1_000 / box.setup.factor for since, _ in stretches if since > ledger[n]),
                default=0,
            )
            verdict.wrong(Invariant.LOSS_IS_NOTICED, f"reading {n}, {early:.2f} s before a blind stretch")
    return set(counts)


def blind_stretches(box: Box) -> list[tuple[Instant, Instant]]:
    """Give the stretches in which readings may have been missed for good, by the events in the journal alone.

    As the engine takes them: lost once more before everything was handed over, the first gap is blind as well.
    """
    stretches = []
    drained, frozen_at = False, 0
    for kind, body in box.query("SELECT kind, body FROM events ORDER BY seq"):
        row = json.loads(body)
        if kind == "link_lost" and drained:
            drained, frozen_at = False, row["at"]
        elif kind == "link_up" and row["blind_from"] is not None:
            stretches.append(
                (row["blind_from"] if drained else min(row["blind_from"], frozen_at or row["blind_from"]), row["at"])
            )
        elif kind == "drained":
            drained = True
    return stretches


def _may_lose(box: Box) -> bool:
    """Say whether a broker has lost its memory, by what was done to it."""
    return box.tally.broker_kills + box.tally.sessions_deleted > 0


def _count(box: Box) -> int:
    return box.query("SELECT count(*) FROM readings")[0][0]


def _readings_are_there(box: Box) -> bool:
    """Wait until all are there, or the daemon has caught up and no more come; False if any is lost that may not be."""
    wanted, seen, since = len(box.ledger()), -1, box.clock.monotonic()

    def is_over() -> bool:
        nonlocal seen, since
        now, stored = box.clock.monotonic(), box.query("SELECT count(DISTINCT device_seq) FROM readings")[0][0]
        if stored != seen:
            seen, since = stored, now
        return stored >= wanted or (box.is_up() and now - since > box.setup.quiet_for)

    until(is_over, box.setup.settle_within, "the last reading")
    return seen >= wanted or _may_lose(box)


# -- alarms ----------------------------------------------------------------------------------------------------------


def _expected(box: Box, stored: set[int]) -> list[Incident]:
    """Give the alarms that there must be. ``stored``: readings; what a broker lost can raise none."""
    may_lose = _may_lose(box)
    found = []
    for n, incident in box.load.incidents(box.published()).items():
        # An overload stays: if its first reading is lost, the next one tells.
        if not may_lose or any(each in stored for each in box.load.telling(n, box.published())):
            found.append(incident)
    return found


def _alarms(box: Box) -> Counter:
    if not box.journal.exists():
        return Counter()
    rows = box.query("SELECT home_id, rule_id FROM alarms WHERE home_id <> 'gateway'")
    return Counter(Incident(*row) for row in rows)


def _judge_alarms(box: Box, verdict: Verdict, stored: set[int]) -> None:
    found, expected = _alarms(box), set(_expected(box, stored))
    verdict.alarms_expected, verdict.alarms_found = len(expected), sum(found.values())
    for incident in sorted(expected):
        if found[incident] != 1:
            verdict.wrong(Invariant.EVERY_ALARM_ONCE, f"{incident.rule_id} in {incident.home_id} x{found[incident]}")
    for incident in sorted(set(found) - expected):
        verdict.wrong(Invariant.NO_ALARM_WITHOUT_CAUSE, f"{incident.rule_id} in {incident.home_id}")


# -- texts -----------------------------------------------------------------------------------------------------------


def _open_texts(box: Box) -> int:
    return box.query("SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending', 'ambiguous')")[0][0]


def _judge_texts(box: Box, verdict: Verdict) -> None:
    wanted = Counter()
    for home_id, rule_id in _alarms(box):
        roles = ("worker", "family") if rule_id in ("panic", "smoke") else ("worker",)
        wanted.update((home_id, rule_id, f"{role}-{home_id}") for role in roles)
    sent = Counter((text.to, _code(text.body)) for text in box.twilio.texts)
    verdict.texts_expected, verdict.texts_sent = len(wanted), sum(sent.values())
    rows = box.query("SELECT notification_id, home_id, rule_id, recipient_id, code, state, reason FROM outbox")
    reminders = dict(box.query("SELECT notification_id, alarm_id FROM outbox WHERE kind = 'reminder'"))
    written: Counter = Counter(
        (home, rule, who) for text, home, rule, who, *_ in rows if home != "gateway" and text not in reminders
    )
    # After a week a ladder says everything again; one scenario lets a week pass.
    old = box.query(f"SELECT alarm_id FROM outbox GROUP BY 1 HAVING max(created_at) - min(created_at) >= {7 * DAY}")
    missed = _missed(box) | {alarm for (alarm,) in old}
    for text in sorted(text for text, alarm in reminders.items() if alarm not in missed):
        verdict.wrong(Invariant.NO_TEXT_TWICE, f"{text} reminds of an alarm that everybody was told of")
    for key in sorted(set(wanted) | set(written)):
        if written[key] != wanted[key]:
            verdict.wrong(Invariant.EVERY_TEXT_AT_LEAST_ONCE, f"{' '.join(key)}: {written[key]} in the outbox")
    for notification_id, home_id, _, who, code, state, reason in rows:
        times = sent[box.phones[who], code]
        # One maintainer has more than his day's texts of a box that is killed all the time.
        spared = state == "cancelled" or (home_id == "gateway" and reason == "over_budget")
        if state in ("pending", "sending", "ambiguous") or (not times and not spared):
            verdict.wrong(Invariant.EVERY_TEXT_AT_LEAST_ONCE, f"{notification_id}: {state} {reason}, sent {times}")
        if times > 1:
            verdict.texts_twice += times - 1
            verdict.wrong(Invariant.NO_TEXT_TWICE, f"{notification_id} x{times}", times - 1)


def _missed(box: Box) -> set[str]:
    """Give the alarms of which somebody has not heard in time: their ladders, of one step, go on to everybody again."""
    missed = set()
    for (body,) in box.query("SELECT body FROM events WHERE kind = 'delivery_report'"):
        report = json.loads(body)
        if report["state"] == "failed" or report["reason"] == "undelivered_2min":
            missed.add(report["notification_id"].rpartition(".")[0])
    return missed


def _code(body: str) -> str:
    return body.rpartition("[")[2][:4]


# -- faults that must be told, and the history -----------------------------------------------------------------------


def _judge_faults(box: Box, verdict: Verdict) -> None:
    """A session that the broker no longer has is a fault in the journal, each time."""
    bodies = [json.loads(body) for (body,) in box.query("SELECT body FROM events WHERE kind = 'fault'")]
    told = sum(
        1 for body in bodies if body["fault_id"] == "session_lost" and body["active"] and body["detail"] == "bulk"
    )
    if told < box.tally.sessions_deleted:
        verdict.wrong(
            Invariant.LOSS_IS_NOTICED, f"{box.tally.sessions_deleted} sessions deleted, {told} told as session_lost"
        )


def _in_history(box: Box) -> int:
    series = box.influxd.execute('SELECT count("value") FROM "reading"', "history")
    return series[0]["values"][0][1] if series else 0
