"""The only place that reads a clock, and the only place that turns an Instant into text.

``now()`` is true elapsed time laid on the wall clock: it runs with CLOCK_BOOTTIME, which neither a step of the wall
clock nor a suspend can bend, and ``stepped()`` says by how much the wall clock has been set since, so that the
engine can move every stored instant with it.
"""

import json
import os
import time
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Protocol

from sensor_guard.model import SECOND, Instant, Span

STEP_LIMIT: Span = 2 * SECOND
"""A difference of the wall clock up to this is drift and followed silently; beyond it, it is a step."""


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
    """The wall clock, made steady by CLOCK_BOOTTIME."""

    factor = 1.0

    def __init__(self) -> None:
        self._anchor = _wall_ms() - _boot_ms()

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
        return offset if abs(offset) > STEP_LIMIT else 0


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


def _wall_ms() -> Instant:
    return time.time_ns() // 1_000_000


def _boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
