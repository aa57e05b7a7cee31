"""The journal at the start of the daemon: opened, or mended first, and the engine put where it was."""

from pathlib import Path

import structlog

from sensor_guard.clock import Clock, alarm_stamp
from sensor_guard.core import Core
from sensor_guard.journal import Ballast, Journal, JournalCorruptError, JournalFullError, Mended, open_or_mend
from sensor_guard.model import Fault, Instant
from sensor_guard.rebuild import rebuild

log = structlog.get_logger(__name__)

_ENDED_BY_A_START = ("journal_unwritable", "session_lost", "broker_dropped")
"""Faults that nobody else ends: the daemon was stopped while they lasted. What it lost is lost, and was told."""


def open_journal(path: Path, clock: Clock) -> tuple[Journal, Mended | None]:
    """Open the journal, mending it if it is damaged; on a full disk the ballast makes room for that.

    Raises:
        JournalError: and its kinds, as ``Journal.open``.
    """
    stamp = alarm_stamp(clock.now())
    try:
        return open_or_mend(path, stamp=stamp, clock=clock.monotonic)
    except JournalFullError:
        if not Ballast(path).release():
            raise
        log.error("disk.full", free_bytes=Ballast(path).free())  # noqa: TRY400 - the cause is the disk, not the code
        return open_or_mend(path, stamp=stamp, clock=clock.monotonic)


def begin(core: Core, mended: Mended | None, now: Instant, *, clock_known: bool | None = None) -> None:
    """Put the engine where it was, or where it can be put; what the maintainer must know is an alarm of the box.

    clock_known: see ``Core.restore``.

    Raises:
        JournalCorruptError: what is stored cannot be read: to be mended.
    """
    faults: list[Fault] = []  # what is over when it is noticed; the alarm stays until a person has closed it
    if mended is not None:
        core.counters.damaged = mended.set_aside.name
        log.error(
            "journal.mended",
            set_aside=str(mended.set_aside),
            reason=mended.why,
            kept=mended.salvaged.kept,
            lost=mended.salvaged.lost,
        )
        faults += [
            Fault("journal_damaged", active=True, at=now, detail=mended.set_aside.name),
            Fault("journal_damaged", active=False, at=now),
        ]
    if mended is None:
        core.restore(now, blind_start=True, clock_known=clock_known)
    else:
        _begin_mended(core, mended, now, clock_known)
    if core.counters.differences:
        faults += [
            Fault("replay_differed", active=True, at=now, detail=f"{core.counters.differences} differences"),
            Fault("replay_differed", active=False, at=now),
        ]
    faults += [Fault(fault_id, active=False, at=now) for fault_id in _ENDED_BY_A_START if core.has_fault(fault_id)]
    if faults:
        core.commit(core.turn(faults, now))


def _begin_mended(core: Core, mended: Mended, now: Instant, clock_known: bool | None) -> None:
    if mended.salvaged.is_whole:
        try:
            # Awake, every one: what cannot be read must show now, and not with the next reading of that home.
            core.restore(now, blind_start=True, clock_known=clock_known, wake_all=True)
        except JournalCorruptError as error:
            log.warning("journal.not_restored", reason=str(error))
        else:
            return
    rebuild(core, now)
