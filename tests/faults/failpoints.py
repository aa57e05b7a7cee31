"""Named places at which the daemon can be made to kill itself. They live here: the program has no such switch.

Each entry of ``FAILPOINTS`` wraps one function of the program so that passing it is noticed. The wrapping is done in
the launched process only, before the daemon starts.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

import paho.mqtt.client as paho

from sensor_guard.core import Core
from sensor_guard.journal import Journal, store
from sensor_guard.journal.batch import Batch
from sensor_guard.model import NotificationState
from sensor_guard.mqtt import Subscriber
from sensor_guard.mqtt.wire import Wire
from sensor_guard.notify.twilio import TwilioNotifier
from sensor_guard.notify.worker import SmsWorker
from sensor_guard.sinks.influx import InfluxSink


@dataclass
class Trap:
    """Kills this process the ``hit``-th time that it is sprung. ``mark``: a file that tells of it afterwards.

    ``pause``: real seconds from the mark to the kill, for what other threads have been told already.
    """

    name: str
    hit: int
    mark: Path
    pause: float = 0.0
    count: int = 0

    def spring(self) -> None:
        self.count += 1
        if self.count != self.hit:
            return
        with self.mark.open("ab") as file:
            file.write(f"{self.name}\n".encode())
        time.sleep(self.pause)
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()  # the signal is on its way: nothing more happens on this thread


def _before(owner: object, name: str, spring: Callable[[], None], when: Callable[..., bool] | None = None) -> None:
    original = getattr(owner, name)

    @wraps(original)
    def wrapped(*words, **named):
        if when is None or when(*words, **named):
            spring()
        return original(*words, **named)

    setattr(owner, name, wrapped)


def _after(owner: object, name: str, spring: Callable[[], None], when: Callable[..., bool] | None = None) -> None:
    """``when`` gets the result first."""
    original = getattr(owner, name)

    @wraps(original)
    def wrapped(*words, **named):
        result = original(*words, **named)
        if when is None or when(result, *words, **named):
            spring()
        return result

    setattr(owner, name, wrapped)


def _holds_readings(batch: Batch) -> bool:
    return batch._has_readings


def _note_leases() -> None:
    """Let a batch remember that it leased texts, and that it raised an alarm."""
    lease, record = Batch.lease, Batch.record

    def noted_lease(self, *words, **named):
        leased = lease(self, *words, **named)
        self.leased_count = len(leased)
        return leased

    def noted_record(self, effects, **named):
        self.has_alarm = bool(effects.notifications)
        return record(self, effects, **named)

    Batch.lease, Batch.record = noted_lease, noted_record  # type: ignore[method-assign]


def _before_commit(trap: Trap) -> None:
    _after(Batch, "_finish", trap.spring, lambda _none, batch: _holds_readings(batch))


def _before_lease_commit(trap: Trap) -> None:
    _note_leases()
    _after(Batch, "_finish", trap.spring, lambda _none, batch: getattr(batch, "leased_count", 0) > 0)


def _before_alarm_commit(trap: Trap) -> None:
    _note_leases()
    _after(Batch, "_finish", trap.spring, lambda _none, batch: getattr(batch, "has_alarm", False))


def _after_alarm_commit(trap: Trap) -> None:
    _note_leases()
    _after(
        Batch, "__exit__", trap.spring, lambda _none, batch, kind, *_: kind is None and batch.__dict__.get("has_alarm")
    )


def _after_commit(trap: Trap) -> None:
    _after(Batch, "__exit__", trap.spring, lambda _none, batch, kind, *_: kind is None and _holds_readings(batch))


def _before_ack(trap: Trap) -> None:
    _before(Subscriber, "ack", trap.spring)


def _between_acks(trap: Trap) -> None:
    _after(paho.Client, "ack", trap.spring)
    _after(Wire, "acknowledge", trap.spring)  # several PUBACKs at once


def _before_post(trap: Trap) -> None:
    _before(TwilioNotifier, "send", trap.spring)


def _after_lease(trap: Trap) -> None:
    _before(SmsWorker, "submit", trap.spring)


def _after_post(trap: Trap) -> None:
    _after(TwilioNotifier, "send", trap.spring)


def _before_report(trap: Trap) -> None:
    _after(Batch, "report_all", trap.spring, lambda counted, _batch, _report: bool(counted))


def _before_receipt(trap: Trap) -> None:
    _before(Batch, "report_all", trap.spring, lambda _batch, report: report.state == NotificationState.DELIVERED)


def _during_checkpoint(trap: Trap) -> None:
    _after(Batch, "save_home_states", trap.spring)


def _after_checkpoint(trap: Trap) -> None:
    _after(Batch, "save_tail", trap.spring)


def _during_prune(trap: Trap) -> None:
    # The rows are deleted, the transaction is open.
    _after(store, "prune", trap.spring, lambda pruned, *_: bool(pruned))


def _during_restore(trap: Trap) -> None:
    _before(Core, "use_plan", trap.spring)


def _during_start(trap: Trap) -> None:
    _before(Journal, "ambiguous_at_start", trap.spring)


def _after_write(trap: Trap) -> None:
    _after(InfluxSink, "write", trap.spring)


def _during_cursor(trap: Trap) -> None:
    _after(Batch, "save_cursor", trap.spring, lambda _none, _batch, _sink, seq: seq > 0)


FAILPOINTS: dict[str, Callable[[Trap], None]] = {
    "before_commit": _before_commit,  # readings and what they caused are written, COMMIT is next
    "before_alarm_commit": _before_alarm_commit,  # likewise, and texts are among it
    "before_lease_commit": _before_lease_commit,  # an attempt is counted, and not on disk
    "after_commit": _after_commit,  # readings are on disk, and nobody knows
    "after_alarm_commit": _after_alarm_commit,
    "before_ack": _before_ack,  # the line hands over what may be acknowledged
    "between_acks": _between_acks,  # some PUBACKs are out, some are not
    "after_lease": _after_lease,  # the attempt is on disk, the text is not handed to the worker
    "before_post": _before_post,
    "after_post": _after_post,  # the provider has it, nobody here knows
    "before_report": _before_report,  # its receipt number is written and not committed
    "before_receipt": _before_receipt,  # it is delivered, and that is not stored
    "during_checkpoint": _during_checkpoint,  # homes are written, the tail is not moved
    "after_checkpoint": _after_checkpoint,  # the tail is moved, and not committed
    "during_prune": _during_prune,
    "during_restore": _during_restore,  # the tail is replayed, the configuration is not in force yet
    "during_start": _during_start,  # before texts that were under way are settled
    "after_write": _after_write,  # InfluxDB has the rows, the cursor does not know
    "during_cursor": _during_cursor,  # the cursor is written and not committed
}
"""name -> what makes the trap spring there."""
