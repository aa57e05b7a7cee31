"""What the tests run in a process of its own: ``python processes.py VERB PATH``. Talks on stdout, a line a fact."""

import os
import resource
import signal
import sys
from pathlib import Path

from sensor_guard.errors import JournalError
from sensor_guard.journal import Journal, JournalUnavailableError
from sensor_guard.model import DEVICE_TIME, Alarm, Effects, Evidence, Notification, Reading, Response, Transition, Truth

START = 1_772_352_000_000


def say(*words):
    # One write, so that a line is whole or not there when the process is killed.
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


def reading(n, part):
    return Reading("home1", f"s{part}", "power_w", float(n), START + n, START + n + 40, n, DEVICE_TIME)


def effects(n):
    alarm_id = f"home1.panic.{n}"
    alarm = Alarm(
        alarm_id,
        "panic",
        "home1",
        "critical",
        Truth.TRUE,
        Response.UNANSWERED,
        START + n,
        START + n,
        Evidence(START, 0, 0),
    )
    return Effects(
        transitions=[Transition(alarm_id, "condition", "", "true", START + n, "raised")],
        alarms={alarm_id: alarm},
        notifications=[
            Notification(f"{alarm_id}.1", alarm_id, "home1", "panic", "alarm", "critical", 0, "li", START + n)
        ],
    )


def commit(journal, n):
    """Batch number n: some readings, and every third time an alarm with its text, leased at once."""
    with journal.batch(START + n) as batch:
        numbered = batch.append_readings([reading(n, part) for part in range(1 + n % 7)])
        batch.seen_packet("bulk:1", 1 + n % 65_535, b"%d" % n, duplicate=False)
        if n % 3 == 0:
            batch.record(effects(n))
            batch.lease(START + n, 5, channel="console")
        if n % 10 == 0:
            batch.save_tail(journal.last_seq, "{}")
    return numbered


def write_for_ever(path):
    """Commit batch after batch until killed, and acknowledge each after its commit."""
    with Journal.open(path) as journal:
        n = (journal.last_now() or START) - START + 1
        say("ready")
        while True:
            numbered = commit(journal, n)
            say("acked", n, numbered[0][0], numbered[-1][0])
            n += 1


def hold(path):
    """Keep the journal until stdin ends."""
    with Journal.open(path):
        say("ready", os.getpid())
        sys.stdin.read()


def fill(path):
    """Fill a small disk, try again, get more space, and go on with the same batch."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Journal.open(path) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
        n = 0
        failure = None
        while failure is None:
            try:
                numbered = commit(journal, n)
                say("acked", n, numbered[0][0], numbered[-1][0])
                n += 1
            except JournalUnavailableError as error:
                failure = error
        say("failed", type(failure).__name__, failure.reason)
        say("readable", sum(1 for _ in journal.reader.readings_after(0, 1_000_000)))
        try:
            commit(journal, n)
        except JournalUnavailableError as error:
            say("again", error.reason)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        numbered = commit(journal, n)
        say("acked", n, numbered[0][0], numbered[-1][0])
        say("faults", journal.check(full=True))


def seize(path):
    """Try to become the second writer."""
    try:
        Journal.open(path).close()
    except JournalError as error:
        say(type(error).__name__, error)
    else:
        say("opened")


if __name__ == "__main__":
    {"write": write_for_ever, "hold": hold, "fill": fill, "seize": seize}[sys.argv[1]](Path(sys.argv[2]))
