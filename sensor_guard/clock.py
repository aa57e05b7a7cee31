"""The only place that reads a clock, and the only place that turns an Instant into text.

``now()`` is true elapsed time laid on the wall clock: it runs with CLOCK_BOOTTIME, which neither a step of the wall
clock nor a suspend can bend, and ``stepped()`` says by how much the wall clock has been set since, so that the
engine can move every stored instant with it.
"""

import contextlib
import ctypes
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Protocol

from sensor_guard.model import HOUR, SECOND, Instant, Span

STEP_LIMIT: Span = 2 * SECOND
"""A difference of the wall clock up to this is drift and followed silently; beyond it, it is a step."""


NOT_BEFORE: Instant = 1_767_225_600_000
"""2026-01-01T00:00:00Z: this program is younger. A clock that shows an earlier time is certainly wrong."""
UNSYNCHRONISED_FOR: Span = 12 * HOUR
"""So long a clock may run without being compared with anybody's before that is a fault: a quartz loses 2 s in it."""
LOOK_EVERY = 1.0
"""Seconds between two looks at whether the clock is synchronised."""
_STAMP = Path("/run/systemd/timesync/synchronized")
_LIBC = ctypes.CDLL(None)
_UNSYNCHRONISED = 0x0040  # STA_UNSYNC of <sys/timex.h>


class Clock(Protocol):
    """What the rest of the program may ask about time. ``factor``: virtual seconds per real second."""

    factor: float

    def now(self) -> Instant:
        """Say what time it is, in ms since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Count real seconds from an arbitrary start, for time-outs and back-off."""
        ...

    def stepped(self) -> Span:
        """Say by how much the wall clock was set since the last call, 0 if it was not; follow it."""
        ...


class SystemClock:
    """The wall clock, made steady by CLOCK_BOOTTIME.

    Args:
        anchor_path: a file that does not outlive this start of the machine (in /run): what the last process knew of
            the clock. A clock that was set while no process ran is then a step like any other.
    """

    factor = 1.0

    def __init__(self, anchor_path: Path | None = None) -> None:
        self._path = anchor_path
        self._saved: Span | None = None
        self._anchor = _wall_ms() - _boot_ms()
        earlier = _read_anchor(anchor_path) if anchor_path is not None else None
        if earlier is not None:
            self._anchor = self._saved = earlier
        else:
            self._save()

    def now(self) -> Instant:
        """Say what time it is: time since boot, laid on the wall clock as it was last followed."""
        return self._anchor + _boot_ms()

    def monotonic(self) -> float:
        """Count real seconds from an arbitrary start."""
        return time.monotonic()

    def stepped(self) -> Span:
        """Follow the wall clock; give the offset if it was a step (over 2 s), else 0."""
        anchor = _wall_ms() - _boot_ms()
        offset = anchor - self._anchor
        if offset:
            self._anchor = anchor
            # Before the step is in the journal: seen twice would be worse than seen by the next start's rules only.
            self._save()
        return offset if abs(offset) > STEP_LIMIT else 0

    def _save(self) -> None:
        if self._path is None or (self._saved is not None and abs(self._anchor - self._saved) < STEP_LIMIT // 2):
            return
        self._saved = self._anchor
        fresh = self._path.with_name(f".{self._path.name}.new")
        with contextlib.suppress(OSError):  # without it a step between two processes goes unseen, and nothing else
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps({"anchor": self._anchor, "boot": _boot_ms(), "boot_id": _boot_id()}))
            fresh.replace(self._path)


class AcceleratedClock:
    """The demo's clock: ``epoch + factor x (monotonic - t0)``, read from one file by simulator and daemon.

    The file survives a restart of either, so that virtual time goes on. For loopback brokers only.
    """

    def __init__(self, epoch: Instant, factor: float, started: float) -> None:
        self.epoch = epoch
        self.factor = factor
        self.started = started

    @classmethod
    def create(cls, path: Path, *, epoch: Instant, factor: float) -> "AcceleratedClock":
        """Start a clock now and leave it in ``path`` for the others."""
        clock = cls(epoch, factor, time.monotonic())
        path.write_text(json.dumps({"epoch": epoch, "factor": factor, "started": clock.started}), encoding="utf-8")
        return clock

    @classmethod
    def join(cls, path: Path, *, epoch: Instant, factor: float) -> "AcceleratedClock":
        """Join the clock in ``path``, or start it there: whoever comes first, the others follow.

        Raises:
            ValueError: there is a file, and it is not a clock file.
        """
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        clock = cls.create(fresh, epoch=epoch, factor=factor)
        try:
            os.link(fresh, path)  # whole or not at all, and only one wins
        except FileExistsError:
            return cls.load(path)
        finally:
            fresh.unlink()
        return clock

    @classmethod
    def load(cls, path: Path) -> "AcceleratedClock":
        """Join the clock that ``path`` describes.

        Raises:
            ValueError: the file is not a clock file; the message names it.
        """
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            return cls(int(row["epoch"]), float(row["factor"]), float(row["started"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not a clock file ({error}); delete it and start again") from error

    def now(self) -> Instant:
        """Say what virtual time it is."""
        return self.epoch + round((time.monotonic() - self.started) * 1_000 * self.factor)

    def monotonic(self) -> float:
        """Count real seconds: time-outs, keepalive and back-off stay real."""
        return time.monotonic()

    def stepped(self) -> Span:
        """Never stepped: it does not look at the wall clock."""
        return 0


class Synchrony:
    """Whether the wall clock can be believed, and whether somebody keeps it right.

    It is believed unless it is certainly wrong: it shows a time before this program was made, or, at a start, one
    before the journal's newest entry, and nothing has synchronised it since. A network without NTP blinds nothing:
    a clock that was right once, or runs on a battery, is right enough for the hour of the day.

    Args:
        last_now: the newest time in the journal, None in an empty one.
        since: ``Clock.monotonic()`` of the start.
        read: says whether the clock is synchronised now; None: it cannot be known.
    """

    def __init__(
        self, last_now: Instant | None, since: float, *, read: Callable[[], bool | None] | None = None
    ) -> None:
        self._floor = max(NOT_BEFORE, (last_now or 0) - STEP_LIMIT)
        self._read = read or is_synchronised
        self._since = since
        self._looked_at = -LOOK_EVERY
        self._was_synchronised = False
        self._state: bool | None = None

    def look(self, monotonic: float) -> None:
        """See whether the clock is synchronised. To be called before ``Clock.stepped``: who synchronises, steps."""
        if monotonic - self._looked_at < LOOK_EVERY:
            return
        self._looked_at = monotonic
        self._state = self._read()
        self._was_synchronised = self._was_synchronised or self._state is True
        if self._state is not False:
            self._since = monotonic

    def is_known(self, now: Instant, *, stepped: bool = False) -> bool:
        """Say whether ``now`` can be believed. ``stepped``: the clock was set a moment ago."""
        if stepped:
            # Somebody has set it while we looked, so what the journal knows is no better than that.
            self._floor = NOT_BEFORE
            self._was_synchronised = self._state is True
        return self._was_synchronised or now >= self._floor

    def is_overdue(self, monotonic: float) -> bool:
        """Say whether nobody has compared the clock for 12 h, though it could be known if somebody did."""
        return self._state is False and monotonic - self._since >= UNSYNCHRONISED_FOR / SECOND


def is_synchronised(stamp: Path = _STAMP) -> bool | None:
    """Say whether NTP has set the clock since the box started; None where it cannot be known.

    systemd-timesyncd leaves a stamp, which a hardened service may see. Others (chrony, ntpd) are known by the
    kernel's flag only, and adjtimex(2) is forbidden by ProtectClock= even for looking: None there.
    """
    if stamp.exists():
        return True
    state = _Timex()
    try:
        answer = int(_LIBC.adjtimex(ctypes.byref(state)))
    except (OSError, AttributeError):
        answer = -1
    if answer >= 0:
        return not state.status & _UNSYNCHRONISED
    return False if stamp.parent.exists() else None


class _Timex(ctypes.Structure):
    """The head of struct timex of <sys/timex.h>; modes = 0 only looks."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 240),
    )


def format_at(at: Instant | None, zone: tzinfo = UTC) -> str:
    """Write an instant as ISO 8601 with its offset (``Z`` for UTC), to the second; "" for None."""
    if at is None:
        return ""
    text = datetime.fromtimestamp(at / 1_000, zone).isoformat(timespec="seconds")
    return text.removesuffix("+00:00") + "Z" if zone is UTC else text


def parse_at(text: str) -> Instant:
    """Read an ISO 8601 time that says its zone.

    Raises:
        ValueError: not a time, or without a zone; the message names the text and the way out.
    """
    cleaned = text.strip()
    if cleaned[-6:-4] in ("Z+", "Z-"):  # mosquitto_sub -F %j of 2.0.11: the offset counts, the Z does not
        cleaned = cleaned[:-6] + cleaned[-5:]
    try:
        moment = datetime.fromisoformat(cleaned)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a time; write it like 2026-03-01T08:00:00Z") from error
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; add Z or an offset such as +08:00")
    return round(moment.timestamp() * 1_000)


def alarm_stamp(at: Instant) -> str:
    """Write an instant as in an alarm_id: YYYYMMDDTHHMMSSZ."""
    return datetime.fromtimestamp(at // 1_000, UTC).strftime("%Y%m%dT%H%M%SZ")


def local_time(at: Instant, zone: tzinfo) -> datetime:
    """Give the aware local time, for people."""
    return datetime.fromtimestamp(at / 1_000, zone)


def _read_anchor(path: Path) -> Span | None:
    """Give what the last process has left, if it was on this start of the machine."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        anchor, boot, boot_id = int(row["anchor"]), int(row["boot"]), str(row["boot_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return anchor if boot <= _boot_ms() and boot_id == _boot_id() else None


def _boot_id() -> str:
    """Name this start of the machine; "" under ProcSubset=pid, where the file's place in /run says it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _wall_ms() -> Instant:
    return time.time_ns() // 1_000_000


def _boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
