"""A stream of readings: an iterator sorted by the time of arrival (``received_at``), one ``Reading`` at a time.

``observed_at`` is what the device's clock said, ``received_at`` when the message reached the broker; they differ only
behind a fault. A reading without the flag ``DEVICE_TIME`` is published without a time of its own.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from sensor_guard.model import Instant, Reading, Span

Stream: TypeAlias = Iterator[Reading]


def arrival(reading: Reading) -> Instant:
    """Give the key by which streams are sorted and merged; what arrives at one instant stays in the order it had."""
    return reading.received_at


def merged(streams: Iterable[Iterable[Reading]]) -> Stream:
    """Merge sorted streams into one, holding one reading of each."""
    return heapq.merge(*streams, key=arrival)


def shifted(readings: Iterable[Reading], by: Span) -> Stream:
    """Move a stream in time: a recording into today."""
    for reading in readings:
        yield reading._replace(observed_at=reading.observed_at + by, received_at=reading.received_at + by)


def between(readings: Iterable[Reading], start: Instant, end: Instant) -> Stream:
    """Cut [start, end) out of a sorted stream; reads no further than ``end``."""
    for reading in readings:
        if reading.received_at >= end:
            return
        if reading.received_at >= start:
            yield reading


def numbered(readings: Iterable[Reading]) -> Stream:
    """Give each sensor's readings a device counter from 0 where they have none (``seq`` -1)."""
    counts: dict[tuple[str, str], int] = {}
    for reading in readings:
        if reading.seq >= 0:
            yield reading
            continue
        key = (reading.home_id, reading.sensor_id)
        counts[key] = counts.get(key, -1) + 1
        yield reading._replace(seq=counts[key])
