"""Sends what the outbox has leased, finds out what became of it, and reports it; decides when and how often.

Owns no thread: parts.py calls ``step`` in a loop and waits as long as it says, or until something is submitted. Each
step makes at most one call to the channel. One lease is at most one attempt: a text that must be sent again goes back
to the outbox as pending, and comes again with its next attempt on disk.

What happens to a text that is submitted:

accepted      followed until its receipt comes (``receipts``)
retry         pending again; everything waits until the channel's next try (``channel``)
reconcile     ambiguous: once the provider must have listed it, it is looked for by its code. Found, it is adopted; not
              found, it is pending again. Until the provider answers it stays ambiguous, however long that takes
next_person   failed: the ladder goes on at once
channel_down  pending again; the fault ``sms_offline`` begins, and ends with the first text that is accepted
"""

import heapq
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import structlog

from sensor_guard.errors import NotifyError
from sensor_guard.model import (
    DAY,
    MINUTE,
    SECOND,
    DeliveryReport,
    Fault,
    Instant,
    Notification,
    NotificationState,
    Span,
)
from sensor_guard.notify.backup import Backup
from sensor_guard.notify.calls import called
from sensor_guard.notify.channel import Channel, ChannelState
from sensor_guard.notify.doubts import Doubts
from sensor_guard.notify.limits import Budget, Limits, Pace, is_critical, is_first_call, urgency
from sensor_guard.notify.outcome import Action, Reason, action_for, action_of, failure
from sensor_guard.notify.protocol import Contact, Directory, Notifier, Receipt
from sensor_guard.notify.receipts import Open, Receipts
from sensor_guard.notify.reports import Reports
from sensor_guard.notify.segment import segment_count
from sensor_guard.notify.text import render

IDLE_LIMIT: Span = 60 * SECOND
"""Longest wait that ``step`` asks for."""
SEARCH_MARGIN: Span = DAY
"""How far our clock and the provider's may differ when a text is looked for; a code is unique for seven days."""
SEARCH_LIMIT: Span = 10 * MINUTE
"""A provider that answers, and will not say what it was sent, is asked for so long. Then twice is better than never."""
RESEND_AFTER: Span = 30 * SECOND
RESEND_LIMIT = 3
"""A text that the network gave up is sent so often in all; then it is failed, and the ladder's repeat is the next."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """How it stands, for ``status`` and metrics. ``reason``: of the last failure while the channel is not up."""

    state: ChannelState
    reason: str
    held_until: Instant
    waiting_count: int
    ambiguous_count: int
    open_count: int


class SmsWorker:
    """One channel's sender. ``step`` belongs to one thread; ``submit``, ``adopt``, ``shift``, ``use``, ``room`` to any.

    ``report`` takes what became of a text, ``tell`` the fault of the channel; both may be called on the stepping
    thread only.
    """

    def __init__(  # noqa: PLR0913 - all but two are named at the call
        self,
        notifier: Notifier,
        directory: Directory,
        *,
        report: Callable[[DeliveryReport], object],
        tell: Callable[[Fault], object],
        limits: Limits | None = None,
        jitter: random.Random | None = None,
        backup: Sequence[tuple[str, Notifier]] = (),
    ) -> None:
        self._notifier = notifier
        self._directory = directory
        self._reports = Reports(report)
        self._limits = limits or Limits()
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads boxes in time, guards no secret
        self._channel = Channel(tell, self._jitter)
        self._pace = Pace(self._limits.per_second, self._limits.burst)
        self._budget = Budget(self._limits)
        self._receipts = Receipts()
        self._doubts = Doubts(self._limits.list_lag)
        self._backup = Backup(backup)
        self._lock = threading.Lock()
        self._mail: list[Callable[[Instant], None]] = []
        self._submitted_count = 0  # in the mail
        self._arrivals = count()
        self._waiting: list[tuple[int, Instant, int, Notification]] = []

    def submit(self, notification: Notification) -> None:
        """Send a text that the outbox has leased."""
        with self._lock:
            self._submitted_count += 1
            self._mail.append(lambda _now: self._enqueue(notification))

    def adopt(self, notification: Notification) -> None:
        """Go on with a text of an earlier process: look for one in doubt, follow one that was accepted."""
        with self._lock:
            self._mail.append(lambda now: self._take_on(notification, now))

    def remember(self, recipient_id: str, at: Instant, kind: str = "") -> None:
        """Count a text of an earlier process into the recipient's day."""
        with self._lock:
            self._mail.append(lambda _now: self._budget.record(recipient_id, at, kind))

    def wants_backup(self, now: Instant) -> bool:
        """Say whether to hand over the calls for help that are not sent, for the channels behind this one."""
        return self._channel.state is ChannelState.DOWN and self._backup.wants(now)

    def back_up(self, notifications: Sequence[Notification]) -> None:
        """Send these calls for help on the next channel too, those that were not yet."""
        with self._lock:
            self._mail.append(lambda _now: self._backup.offer(notifications))

    def shift(self, offset: Span) -> None:
        """The clock was set: move every instant with it."""
        with self._lock:
            self._mail.append(lambda _now: self._shift(offset))

    def resume(self) -> None:
        """Try at once, with connection and secret taken anew: somebody may have mended something."""
        with self._lock:
            self._mail.append(lambda _now: self._reopen())

    def use(self, directory: Directory) -> None:
        """Take names, numbers and words from here on from this configuration."""
        self._directory = directory

    def room(self, now: Instant) -> int:
        """Say how many texts to lease now: what waits for a channel that is down waits better in the outbox.

        There it can be called back, and the newest urgent one is first when the channel works again.
        """
        with self._lock:
            taken = len(self._waiting) + self._submitted_count
        if self._channel.is_held(now, critical=True):
            return 0
        return max(0, (1 if self._channel.is_probing() else self._limits.waiting) - taken)

    def takes_critical_only(self, now: Instant) -> bool:
        """Say whether the room that there is now is for critical texts: the provider wants to be left alone."""
        return self._channel.is_held(now)

    def room_at(self, now: Instant) -> Instant:
        """Say when to ask for room again: now if there is some; a report may come sooner and make some."""
        return max(self._channel.held_until, self.critical_room_at(now))

    def critical_room_at(self, now: Instant) -> Instant:
        """Say when to ask for room for a critical text."""
        if self.room(now):
            return now
        return max(self._channel.critical_held_until, self._pace.next_at(), now + SECOND // 10)

    def status(self) -> WorkerStatus:
        """Say how it stands, as of the last step."""
        channel = self._channel
        return WorkerStatus(
            state=channel.state,
            reason=channel.reason,
            held_until=channel.held_until,
            waiting_count=len(self._waiting),
            ambiguous_count=len(self._doubts),
            open_count=len(self._receipts),
        )

    # What follows runs on the worker's thread.

    def step(self, now: Instant) -> float:
        """Do the next thing that is due, the most urgent text first; say for how many seconds there is nothing."""
        with self._lock:
            mail, self._mail, self._submitted_count = self._mail, [], 0
            for deliver in mail:
                deliver(now)
        self._doubts.tick(now)
        if self._channel.state is not ChannelState.DOWN:
            self._backup.clear()
        first, second = (self._send, self._reconcile) if self._sends_first(now) else (self._reconcile, self._send)
        # The second way comes after the first one's tries, which are rare now: should it hang, it holds up no try.
        if first(now) or second(now) or self._also(now) or self._follow(now):
            return 0.0
        return max(0, min(self._next_at(), now + IDLE_LIMIT) - now) / SECOND

    def _also(self, now: Instant) -> bool:
        return self._backup.step(self._directory, lambda one, contact: self._text(one, contact, now))

    def _enqueue(self, notification: Notification) -> None:
        # As the outbox does: of two old alarms the older one has waited for nothing new.
        key = (urgency(notification), -notification.alarm_at, -next(self._arrivals), notification)
        heapq.heappush(self._waiting, key)

    def _take_on(self, notification: Notification, now: Instant) -> None:
        if notification.state in (NotificationState.AMBIGUOUS, NotificationState.SENDING):
            self._doubts.add(notification)  # it may have been tried the moment before: its time runs from now
        elif notification.state == NotificationState.ACCEPTED and notification.receipt_id is not None:
            sent_at = now if notification.attempted_at is None else notification.attempted_at
            self._receipts.follow(notification, notification.receipt_id, sent_at, now)

    def _reopen(self) -> None:
        self._notifier.close()
        self._backup.close()
        self._channel.open()

    def _shift(self, offset: Span) -> None:
        for part in (self._channel, self._pace, self._budget, self._receipts, self._doubts):
            part.shift(offset)

    def _next_at(self) -> Instant:
        dues = [self._receipts.next_at()]
        if self._waiting:
            dues.append(self._pace.next_at())
        doubt_at = self._doubts.next_at()
        if doubt_at is not None:
            dues.append(
                max(
                    doubt_at,
                    self._channel.critical_held_until if self._doubts.has_critical() else self._channel.held_until,
                )
            )
        return min((due for due in dues if due is not None), default=1 << 60)

    def _sends_first(self, now: Instant) -> bool:
        """Say whether a text that waits comes before one in doubt.

        A new call for life, and whatever is more urgent; else a provider that fails one text after another would keep
        the older ones in doubt for as long as new ones come.
        """
        due = self._doubts.due(now)
        if not due or not self._waiting:
            return True
        head = self._waiting[0][-1]
        return is_first_call(head) or urgency(head) < urgency(due[0])

    def _send(self, now: Instant) -> bool:
        """Send the first text that waits, if it may go now."""
        if self._waiting and self._channel.is_held(now):
            self._release(now)
        if not self._waiting or self._pace.next_at() > now:
            return False
        notification = heapq.heappop(self._waiting)[-1]
        contact = self._directory.contact(notification.recipient_id)
        if contact is None:
            self._reports.failed(notification, now, Reason.NO_CONTACT)
        elif not self._budget.allows(notification, now):
            # The ladder goes on to somebody who can still be told.
            self._reports.failed(notification, now, Reason.OVER_BUDGET)
        else:
            self._attempt(notification, contact, now)
        return True

    def _release(self, now: Instant) -> None:
        """Give back what waits for a channel that fails; what is critical and was never tried stays for one try."""
        kept = []
        for entry in self._waiting:
            notification = entry[-1]
            if is_first_call(notification) or not self._channel.is_held(now, critical=is_critical(notification)):
                kept.append(entry)
            else:
                self._reports.again(notification, now, self._channel.reason, self._next_try(notification))
        heapq.heapify(kept)
        self._waiting = kept

    def _next_try(self, notification: Notification) -> Instant:
        channel = self._channel
        return channel.critical_held_until if is_critical(notification) else channel.held_until

    def _attempt(self, notification: Notification, contact: Contact, now: Instant) -> None:
        text = self._text(notification, contact, now)
        self._pace.take(now, segment_count(text))
        try:
            receipt = called(lambda: self._notifier.send(notification, contact, text))
        except NotifyError as error:
            self._failed(notification, error, now)
            return
        self._channel.accepted(now)
        self._budget.record(notification.recipient_id, now, notification.kind)
        self._learnt(notification, receipt, now, sent_at=now)

    def _text(self, notification: Notification, contact: Contact, now: Instant) -> str:
        try:
            return render(notification, contact, self._directory, now)
        except Exception as error:  # noqa: BLE001 - whatever stands in the files, an alarm goes out
            reason = type(error).__name__  # no traceback: it would carry names
            log.error("text.failed", notification_id=notification.notification_id, reason=reason)  # noqa: TRY400
            return f"{notification.home_id} {notification.rule_id} [{notification.code}]"

    def _failed(self, notification: Notification, error: NotifyError, now: Instant) -> None:
        action = action_of(error)
        if action is Action.NEXT_PERSON:
            self._channel.refused(notification.recipient_id, error, now)
            self._reports.failed(notification, now, error.reason)
            return
        self._channel.failed(error, now, is_post=True)
        if action is Action.RECONCILE:
            self._doubts.add(notification)
            self._reports.say(notification, NotificationState.AMBIGUOUS, now, error.reason)
        else:
            self._reports.again(notification, now, error.reason, self._next_try(notification))

    def _reconcile(self, now: Instant) -> bool:
        """Look for the texts in doubt of one person, the most urgent one's."""
        theirs = self._doubts.due(now)
        if not theirs or self._channel.is_held(now, critical=is_critical(theirs[0])):
            return False
        contact = self._directory.contact(theirs[0].recipient_id)
        if contact is None:
            for one in theirs:
                self._doubts.forget(one)
                self._reports.failed(one, now, Reason.NO_CONTACT)
            return True
        since = min(one.attempted_at or 0 for one in theirs) - SEARCH_MARGIN
        try:
            found = called(lambda: self._notifier.find(contact, [one.code for one in theirs if one.code], since))
        except NotifyError as error:
            self._channel.failed(error, now, is_post=False)
            if action_of(error) in (Action.NEXT_PERSON, Action.CHANNEL_DOWN):
                self._give_up_search(theirs, error, now)
            return True
        self._channel.answered(now)
        for one in theirs:
            self._doubts.forget(one)
            self._settle(one, found.get(one.code), now)
        return True

    def _give_up_search(self, notifications: list[Notification], error: NotifyError, now: Instant) -> None:
        for one in notifications:
            if self._doubts.age(one, now) >= SEARCH_LIMIT:
                self._doubts.forget(one)
                self._reports.again(one, now, error.reason, now)

    def _settle(self, notification: Notification, receipt: Receipt | None, now: Instant) -> None:
        log.info("notification.reconciled", notification_id=notification.notification_id, found=receipt is not None)
        if receipt is None:
            self._reports.again(notification, now, Reason.NOT_FOUND, now)
            return
        self._channel.accepted(now)
        self._budget.record(notification.recipient_id, now, notification.kind)
        sent_at = now if notification.attempted_at is None else notification.attempted_at
        self._learnt(notification, receipt, now, sent_at=sent_at)

    def _follow(self, now: Instant) -> bool:
        """Ask for the receipt of one text."""
        one = self._receipts.due(now)
        if one is None:
            return False
        if one.is_over(now):
            self._receipts.forget(one.notification.notification_id)
            self._reports.say(one.notification, NotificationState.ACCEPTED, now, Reason.NO_RECEIPT, one.receipt_id)
            return True
        receipt = None if self._channel.is_held(now) else self._ask(one, now)
        if receipt is not None and receipt.state != NotificationState.ACCEPTED:
            self._receipts.forget(one.notification.notification_id)
            self._learnt(one.notification, receipt, now, sent_at=one.sent_at)
        elif one.is_overdue(now) and not one.is_told:
            # Also where nobody answers: not to know is not to have arrived.
            one.is_told = True
            self._reports.say(
                one.notification, NotificationState.ACCEPTED, now, Reason.UNDELIVERED_2MIN, one.receipt_id
            )
        return True

    def _ask(self, one: Open, now: Instant) -> Receipt | None:
        try:
            receipt = called(lambda: self._notifier.receipt(one.receipt_id))
        except NotifyError as error:
            if error.reason != Reason.NOT_FOUND:
                self._channel.failed(error, now, is_post=False)
            return None
        self._channel.answered(now)
        return receipt

    def _learnt(self, notification: Notification, receipt: Receipt, now: Instant, *, sent_at: Instant) -> None:
        """The provider has said where a text is."""
        if receipt.state == NotificationState.DELIVERED:
            self._channel.arrived(sent_at, now)
            self._reports.say(notification, NotificationState.DELIVERED, now, "", receipt.receipt_id)
        elif receipt.state == NotificationState.FAILED:
            self._undelivered(notification, receipt, sent_at, now)
        else:
            self._reports.say(notification, NotificationState.ACCEPTED, now, "", receipt.receipt_id)
            self._receipts.follow(notification, receipt.receipt_id, sent_at, now)

    def _undelivered(self, notification: Notification, receipt: Receipt, sent_at: Instant, now: Instant) -> None:
        """It was accepted and did not arrive."""
        action = action_for(receipt.reason)
        if action is Action.CHANNEL_DOWN:
            self._channel.lost(failure(Reason(receipt.reason)), sent_at, now)
            self._reports.again(notification, now, receipt.reason, max(now, self._next_try(notification)))
        elif action is Action.RETRY and notification.attempts < RESEND_LIMIT:
            wait = RESEND_AFTER << notification.attempts
            retry_at = now + wait // 2 + self._jitter.randint(0, wait // 2)
            self._reports.again(notification, now, receipt.reason, retry_at)
        else:
            self._reports.failed(notification, now, receipt.reason, receipt.receipt_id)
