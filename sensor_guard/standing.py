"""How the daemon stands: what `status`, /healthz and /metrics say. Reads only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sensor_guard import __version__
from sensor_guard.clock import Clock, format_at
from sensor_guard.core import Core
from sensor_guard.engine.views import count_blind
from sensor_guard.health import Counters, Heartbeats
from sensor_guard.inbox import Inbox
from sensor_guard.model import GATEWAY, Drained, Response
from sensor_guard.mqtt import Subscriber
from sensor_guard.notify.worker import SmsWorker
from sensor_guard.outward import Heartbeat, Untold
from sensor_guard.pipe import PipeSubscriber
from sensor_guard.schedule import Calendar
from sensor_guard.sinks.mirror import Mirror

# Any: JSON for the command line and for a scraper.
Json = dict[str, Any]

LOOP_LIMIT = 30.0
"""Seconds without a turn of the loop after which the daemon calls itself unwell. A slow disk is the usual reason."""
CANARY_LIMIT = 45.0
"""Seconds without anything from the broker through the loop, while the connection is up: its pulse comes every 10."""
NEXT_WITHIN = 120
"""Seconds after which the next word about our health is overdue: it comes every 30."""
_UNANSWERED_LIMIT = 1_000  # open alarms that are looked through for it


TOLD_OUTSIDE = frozenset({"broker_offline", "sms_offline", "disk_full", "homes_blind"})
"""Faults of the box that somebody outside should know of: nobody is watched over, or nobody can be told."""


@dataclass(slots=True)
class Standing:
    """The parts that are asked; those that a configuration does not have are None."""

    core: Core
    clock: Clock
    inbox: Inbox
    counters: Counters
    beats: Heartbeats
    home_count: int
    subscriber: Subscriber | PipeSubscriber | None = None
    worker: SmsWorker | None = None
    mirror: Mirror | None = None
    untold: Untold | None = None
    heartbeat: Heartbeat | None = None
    calendar: Calendar | None = None
    faults: tuple[str, ...] = ()
    """Faults of the box that are open, as of the last turn."""
    configuration: Callable[[], Json] = dict

    def is_connected(self) -> bool:
        """Say whether the bulk connection to the broker is up."""
        return self.subscriber is not None and self.subscriber.gauges()["mqtt_bulk_up"] > 0

    def is_alive(self, now: float) -> bool:
        """Say whether every thread's loop turns; an outage of something outside is no reason to be restarted."""
        return not self._stuck(now)

    def outward(self) -> tuple[bool, tuple[str, ...]]:
        """Say whether every part moves, and what somebody outside should know of. On any thread."""
        now = self.clock.monotonic()
        alive = self.is_alive(now) and now - self.counters.loop_at < LOOP_LIMIT
        untold = ("untold",) if self.untold is not None and self.untold.words else ()
        return alive, tuple(fault for fault in self.faults if fault in TOLD_OUTSIDE) + untold

    def take_all_again(self) -> None:
        """Readings were left in the broker for a while: say when all of them have come, as after an outage.

        The engine was told LinkLost meanwhile, so that nothing falls due that they disprove.
        """
        self.inbox.forget_drained()
        if self.subscriber is None:
            self.inbox.put(Drained(self.clock.now()))
        else:
            self.subscriber.drain_again()

    def status(self) -> Json:
        """Answer `sensor-guard status`. On the engine's thread."""
        sizes = self.core.journal.reader.sizes()
        trouble = self.subscriber.trouble() if self.subscriber is not None else ""
        status: Json = {
            "running": True,
            "version": __version__,
            "homes": self.home_count,
            "connected": self.is_connected(),
            **({"broker": trouble} if trouble else {}),
            "drained": self.core.engine.drained,
            "open_alarms": sizes.open_alarms,
            "messages": self.counters.messages,
            "texts": sizes.texts,
            "last_turn_at": sizes.last_now,
            "journal_mb": round(sizes.file_bytes / 1e6, 1),
            "quarantined": sizes.quarantined,
            "journal": self._journal(),
            **self.configuration(),
            "holding": list(self.core.faults()),
        }
        if self.counters.differences:
            status["replay_differences"] = self.counters.differences
        if self.counters.damaged:
            status["journal_set_aside"] = self.counters.damaged
        status["clock"] = "known" if self.core.engine.clock_known else "not known: the hour of the day waits"
        status["untold"] = list(self.untold.words) if self.untold is not None else []
        if self.worker is not None:
            channel = self.worker.status()
            status["sms"] = f"{channel.state}{f', {channel.reason}' if channel.reason else ''}"
        if self.mirror is not None:
            mirror = self.mirror.status(self.clock.now())
            status["influxdb"] = f"{mirror.state}, {mirror.depth} behind"
        return status

    def report(self) -> dict[str, object]:
        """Say how the daemon is, for the topic ``health``: figures and ids of rules. On the engine's thread."""
        core, now = self.core, self.clock.now()
        sizes = core.journal.reader.sizes()
        unanswered = core.journal.reader.alarms(open_only=True, limit=_UNANSWERED_LIMIT)
        gateway = core.engine.homes.get(GATEWAY)
        faults = sorted({*gateway.cases.open_by_rule, *core.faults()}) if gateway is not None else []
        return {
            "version": __version__,
            "at": format_at(now),
            "state": "degraded" if faults else "ok",
            "homes": self.home_count,
            "blind_homes": count_blind(core.engine),
            "open_alarms": sizes.open_alarms,
            "unanswered": sum(alarm.response is Response.UNANSWERED for alarm in unanswered),
            "texts_pending": sum(sizes.texts.values()),
            "influxdb_backlog": self.mirror.status(now).depth if self.mirror is not None else 0,
            "faults": faults,
            "next_within": NEXT_WITHIN,
        }

    def gauges(self) -> dict[str, float]:
        """Give what changes up and down, for /metrics. On any thread."""
        gauges = {
            "inbox_depth": float(self.inbox.depth()),
            "inbox_dropped": float(self.inbox.dropped_count),
            "homes": float(len(self.core.engine.homes)),
            "drained": float(self.core.engine.drained),
            "journal_stalled": float(bool(self.counters.stalled)),
            "readings_held": float(self.counters.readings_held),
            "replay_differences": float(self.counters.differences),
        }
        if self.untold is not None:
            gauges["untold_critical"] = float(len(self.untold.words))
        if self.heartbeat is not None:
            gauges["heartbeats_failed"] = float(self.heartbeat.failed_count)
        if self.calendar is not None:
            gauges["jobs_missed"] = float(self.calendar.missed_count)
        gauges["clock_known"] = float(self.core.engine.clock_known)
        if self.subscriber is not None:
            gauges |= self.subscriber.gauges()
        if self.mirror is not None:
            mirror = self.mirror.status(self.clock.now())
            gauges["influxdb_backlog"] = float(mirror.depth)
            gauges["influxdb_backlog_age_seconds"] = mirror.age / 1_000
        return gauges

    def check(self) -> tuple[bool, Json]:
        """Answer /healthz: well only while every loop turns, the journal takes all, the broker is there, all are told.

        On any thread.
        """
        now = self.clock.monotonic()
        stuck, turning, connected = self._stuck(now), now - self.counters.loop_at < LOOP_LIMIT, self.is_connected()
        journal, untold = self._journal(), len(self.untold.words) if self.untold is not None else 0
        return turning and connected and not stuck and journal == "ok" and not untold, {
            "loop": turning,
            "journal": journal,
            "stuck": stuck,
            "connected": connected,
            "drained": self.core.engine.drained,
            "untold": untold,
        }

    def _journal(self) -> str:
        """Say in a word whether the journal takes what comes."""
        if self.counters.stalled:
            return f"takes nothing ({self.counters.stalled})"
        return "full: alarms only" if self.counters.readings_held else "ok"

    def _stuck(self, now: float) -> list[str]:
        stuck = self.beats.stuck(now)
        if self.subscriber is not None and not self.subscriber.healthy():
            stuck = [*stuck, "mqtt"]
        age = self.subscriber.canary_age(now) if self.subscriber is not None else None
        # While the disk refuses, or has room for alarms alone, nothing is acknowledged: a restart would not mend it.
        is_held = self.core.is_refused or self.counters.readings_held
        if age is not None and age > CANARY_LIMIT and not is_held:
            stuck = [*stuck, "canary"]
        if self.calendar is not None and not self.calendar.healthy():
            stuck = [*stuck, "calendar"]
        return stuck
