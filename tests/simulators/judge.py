"""A second opinion on the truth: when the shipped rules' sentences become true, read naively off a stream.

Knows nothing of the engine, of missing data or of late readings; simulated homes without faults have neither.
"""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from sensor_guard.clock import local_time
from sensor_guard.model import HOUR, MINUTE, Instant, Reading

ZONE = ZoneInfo("Asia/Shanghai")


def alarms(readings: Iterable[Reading], end: Instant) -> list[tuple[str, Instant]]:
    """Give (rule_id, when) of everything that the readings of one home should raise up to ``end``."""
    ordered = list(readings)
    found = [
        *_held(ordered, "power_w", lambda value: value < 5, 12 * HOUR, "electricity_low", end),
        *_held(ordered, "flow_l_min", lambda value: value > 0.1, 2 * HOUR, "water_running", end),
        *_held(ordered, "flow_l_min", lambda value: value == 0, 24 * HOUR, "water_none", end),
        *_still(ordered, end),
        *_open_at_night(ordered, end),
        *_first_ones(ordered, "smoke"),
        *_first_ones(ordered, "panic"),
    ]
    return sorted(found, key=lambda one: (one[1], one[0]))


def _held(readings, quantity, holds, for_, rule_id, end):
    since = None
    for one in readings:
        if one.quantity != quantity:
            continue
        if holds(one.value):
            since = one.observed_at if since is None else since
        else:
            if since is not None and one.observed_at - since >= for_:
                yield rule_id, since + for_
            since = None
    if since is not None and end - since >= for_:
        yield rule_id, since + for_


def _still(readings, end):
    last = None
    for one in readings:
        if one.quantity != "motion":
            continue
        last = one.observed_at if last is None else last
        if one.value == 1:
            if one.observed_at - last >= 12 * HOUR:
                yield "no_movement", last + 12 * HOUR
            last = one.observed_at
    if last is not None and end - last >= 12 * HOUR:
        yield "no_movement", last + 12 * HOUR


def _open_at_night(readings, end):
    opened = None
    for one in (*(one for one in readings if one.quantity == "door_open"), None):
        at = end if one is None else one.observed_at
        if opened is not None and (one is None or one.value == 0):
            for minute in range(opened, at - 30 * MINUTE + 1, MINUTE):
                if _is_night(minute) and _is_night(minute + 30 * MINUTE):
                    yield "door_open_night", minute + 30 * MINUTE
                    break
            opened = None
        elif one is not None and one.value == 1 and opened is None:
            opened = at


def _is_night(at):
    hour = local_time(at, ZONE).hour
    return hour >= 22 or hour < 6


def _first_ones(readings, quantity):
    before = 0.0
    for one in readings:
        if one.quantity == quantity:
            if one.value == 1 and before == 0:
                yield quantity, one.observed_at
            before = 0.0 if quantity == "panic" else one.value
