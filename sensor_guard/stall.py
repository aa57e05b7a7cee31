"""A stretch in which the disk takes nothing: what is done meanwhile, and what is not.

The turn that failed is kept and committed again; the engine has been fed with it once, and never again. Nothing of it
is acknowledged or answered. Only the urgent lane may join: each arrival becomes a turn of its own that waits behind
the failed one and is fed when its time to be committed has come, with the time at which it arrived. What texts follow
from it is decided on a copy (``foresight``); after ten seconds those that people's lives may hang on go out unstored,
each until it gets through. Their ids are kept, so that the outbox learns of them with the first commit and sends none
of them again. While the provider is down too they go out on the channels behind it, as stored ones do, and the alarms
of which nobody was told are counted.
"""

from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from dataclasses import replace

import structlog

from sensor_guard.clock import Clock
from sensor_guard.core import Core
from sensor_guard.errors import JournalError
from sensor_guard.foresight import Foresight
from sensor_guard.inbox import Event, Request
from sensor_guard.journal import CALLS, JournalUnavailableError
from sensor_guard.model import (
    Fault,
    Instant,
    LinkLost,
    Notification,
    NotificationKind,
    NotificationState,
    Severity,
)
from sensor_guard.notify.backup import OFFER_LIMIT
from sensor_guard.standing import Standing
from sensor_guard.turn import Turn

UNSTORED_AFTER = 10.0
"""Seconds without a commit after which urgent texts go out though they are not on disk."""
JOIN_LIMIT = 1_000
"""Turns that wait; beyond it the urgent lane waits in the inbox, where the broker's receive maximum bounds it."""
TIME_LIMIT = 10_000
"""Turns that wait, those without events included (7 MB): moments at which time alone has caused texts. What it causes
beyond it goes out all the same; the outbox does not know all of it afterwards, so somebody is told twice."""
FAULT = "journal_unwritable"
_OF_THE_DISK = (FAULT, "disk_full")

log = structlog.get_logger(__name__)


class Stall:
    """See the module.

    Args:
        core: journal and engine.
        standing: the parts that may be used meanwhile.
        clock: ditto.
        wake: called when something was handed to the worker.
        clock_news: given the turns that wait, gives what the engine has to know of the clock before what joins them.
        restamp: gives what has arrived with its times as they are by the clock of now.
    """

    def __init__(
        self,
        core: Core,
        standing: Standing,
        clock: Clock,
        *,
        wake: Callable[[], None],
        clock_news: Callable[[Sequence[Turn]], Sequence[Event]],
        restamp: Callable[[Sequence[Event]], Sequence[Event]],
    ) -> None:
        self._core, self._standing, self._clock, self._wake = core, standing, clock, wake
        self._clock_news, self._restamp = clock_news, restamp
        self._began: float | None = None
        self._is_told = self._stands_still = False
        self._foresight = Foresight(core)

    def begins(self, error: JournalUnavailableError) -> None:
        """A commit has failed; said once a stall."""
        if self._began is None:
            log.error("commit.failed", reason=str(error))
            self._began = self._clock.monotonic()
            self._foresight = Foresight(self._core)
        self._standing.counters.stalled = error.reason

    def ends(self) -> None:
        """A commit has succeeded."""
        if self._began is not None:
            log.info("commit.recovered", seconds=round(self._clock.monotonic() - self._began, 1))
            self._began = None
            self._standing.counters.stalled = ""
            self._standing.counters.unstored = ()  # from here on the outbox says it

    def settled(self, now: Instant) -> list[Event]:
        """Everything that waited is on disk; what is to be fed now that the stall is over."""
        lost = list(self._core.unstored)
        if lost:
            # The engine wanted another text after all: it goes out as usual, so somebody may get two.
            log.warning("text.unmatched", notification_ids=lost[:20])
            self._core.unstored.clear()
        if self._stands_still:
            self._stands_still = False
            self._standing.take_all_again()
        if not self._is_told:
            return []
        self._is_told = False
        return [Fault(FAULT, active=False, at=now)]

    def meanwhile(self, waiting: list[Turn]) -> None:
        """Between two tries: let what is urgent join, answer questions, and send what must not wait any longer."""
        core, clock = self._core, self._clock
        news, now = self._clock_news(waiting), clock.now()
        if news:
            waiting.append(core.turn([*self._stand_still(waiting), *news], now))
        if len(waiting) < JOIN_LIMIT:
            joining = [event for event in self._standing.inbox.take_urgent() if not self._is_answered(event)]
            if joining:
                waiting.append(core.turn([*self._stand_still(waiting), *self._restamp(joining)], now))
        assert self._began is not None
        if clock.monotonic() - self._began < UNSTORED_AFTER:
            return
        if not self._is_told:
            self._is_told = True
            reason = self._standing.counters.stalled
            told = Fault(FAULT, active=True, at=now, detail=reason)
            waiting.append(core.turn([*self._stand_still(waiting), told], now))
        if self._foresight.follow(waiting, now) and len(waiting) < TIME_LIMIT:
            waiting.append(core.turn([], now))
        self._send(now)
        self._tell_elsewhere(now)

    def _stand_still(self, waiting: Sequence[Turn]) -> list[LinkLost]:
        """Give what goes before the first that joins: time stands still where the turn that failed was taken.

        Until it is over nobody sees the readings that have come since: what falls due may be disproved by them.
        """
        if self._stands_still:
            return []
        self._stands_still = True
        return [LinkLost(waiting[0].now)]

    def _is_answered(self, event: Event) -> bool:
        """Answer a question at once: it changes nothing, and whoever asks wants to know what is wrong."""
        if isinstance(event, Request) and callable(event.event):
            event.reply(self._core.ask(event.event))
            return True
        return False

    def _send(self, now: Instant) -> None:
        worker, core = self._standing.worker, self._core
        if worker is None:
            return
        sent = False
        texts = [*self._waiting_on_disk(now), *self._foresight.texts.values()]
        urgent = {text.notification_id: text for text in texts if _cannot_wait(text)}
        # What did not get through goes out again: no outbox can lease it, and the disk may stay away for hours.
        retries = self._standing.inbox.take_retries(urgent.keys() & core.unstored.keys(), now)
        again = {report.notification_id for report in retries}
        for text in urgent.values():
            before = core.unstored.get(text.notification_id)
            if before is not None and text.notification_id not in again:
                continue
            taken = replace(
                text,
                code=(before or text).code or core.journal.code_of(text.notification_id),
                state=NotificationState.SENDING,
                attempts=(before or text).attempts + 1,
                attempted_at=now,
                channel=core.channel,
                alarm_at=text.alarm_at or text.due_at,  # the outbox would have written it down: the newest goes first
            )
            core.unstored[text.notification_id] = taken
            worker.submit(taken)
            sent = True
            log.error("text.unstored", notification_id=text.notification_id, recipient_id=text.recipient_id)
        if sent:
            self._wake()

    def _tell_elsewhere(self, now: Instant) -> None:
        """Count who is untold; hand the calls for help that nobody took to the channels behind the first one."""
        worker, called_back = self._standing.worker, self._foresight.called_back
        taken = self._standing.inbox.taken_texts()
        calls = [text for text in self._core.unstored.values() if _is_call(text)]
        self._standing.counters.unstored = _untold(
            [text for text in calls if text.notification_id not in called_back], taken
        )
        if worker is None or not worker.wants_backup(now):
            return
        with suppress(JournalError):  # what cannot be read now is offered with a later look
            calls += self._core.journal.critical_unsent(OFFER_LIMIT)
        wanted = {text.notification_id: text for text in calls if text.notification_id not in taken | called_back}
        newest_first = sorted(wanted.values(), key=lambda text: -text.alarm_at)
        worker.back_up(newest_first[:OFFER_LIMIT])
        self._wake()

    def _waiting_on_disk(self, now: Instant) -> list[Notification]:
        """Give the texts that were stored before and cannot be leased now; none where the disk cannot be read."""
        with suppress(JournalError):
            return [
                text
                for text in self._core.journal.outbox_open()
                if text.state == NotificationState.PENDING
                and text.due_at <= now
                and text.notification_id not in self._foresight.called_back
            ]
        return []


def _cannot_wait(text: Notification) -> bool:
    return text.severity == Severity.CRITICAL or text.rule_id in _OF_THE_DISK


def _is_call(text: Notification) -> bool:
    return text.severity == Severity.CRITICAL and text.kind in CALLS


def _untold(calls: Sequence[Notification], taken: Set[str]) -> tuple[str, ...]:
    """Name the alarms whose newest calls nobody has taken, as ``Reader.untold`` does for those on disk.

    calls: in the order in which they were wanted, none of them called back.
    """
    newest: dict[str, Instant] = {}  # alarm -> when its newest call was wanted
    told: dict[str, Instant] = {}
    for text in calls:
        if text.kind != NotificationKind.UNCLOSED:  # somebody has answered that one
            newest[text.alarm_id] = text.due_at
            if text.notification_id in taken:
                told[text.alarm_id] = text.due_at
    return tuple(alarm_id for alarm_id, at in newest.items() if told.get(alarm_id) != at)
