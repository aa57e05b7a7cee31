"""Calendar work only: what is to be done at a time of day. Everything that is counted in hours is the engine's.

APScheduler sleeps by the wall clock and drops what it finds late, so each job is told to run however late it is
(``misfire_grace_time=None``), once (``coalesce``), and only ever puts something into the inbox. What did not run is
logged and counted. When the clock is set, every job is planned anew (``replan``): set back by a month, APScheduler
would rest for a month.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import tzinfo

import structlog
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    JobEvent,
    JobExecutionEvent,
)
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from sensor_guard.clock import local_time
from sensor_guard.model import Instant

_WORDS = {EVENT_JOB_MISSED: "missed", EVENT_JOB_ERROR: "failed", EVENT_JOB_MAX_INSTANCES: "still_running"}

log = structlog.get_logger(__name__)


class Calendar:
    """Jobs by the hour of the day. ``zone``: whose hour. ``missed_count``: runs that did not happen, or failed."""

    def __init__(self, zone: tzinfo) -> None:
        self.missed_count = 0
        self._zone = zone
        self._scheduler = BackgroundScheduler(
            timezone=zone, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self._scheduler.add_listener(self._told, EVENT_JOB_MISSED | EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES)

    def daily(self, name: str, job: Callable[[], None], *, hour: int, minute: int) -> None:
        """Do ``job`` every day at this time. It runs on a thread of APScheduler's and must not wait."""
        trigger = CronTrigger(hour=hour, minute=minute, timezone=self._zone)
        self._scheduler.add_job(job, trigger, id=name)

    def start(self, stack: ExitStack) -> None:
        """Begin; ``stack`` ends it."""
        self._scheduler.start()
        stack.callback(lambda: self._scheduler.shutdown(wait=False))

    def replan(self, now: Instant) -> None:
        """Plan every job anew, from the time that the clock shows since it was set. On any thread.

        What the step has passed over is done at once; what it has led back before is done again in its time.
        """
        moment = local_time(now, self._zone)
        for job in self._scheduler.get_jobs():
            if job.next_run_time is not None and job.next_run_time > moment:
                job.modify(next_run_time=job.trigger.get_next_fire_time(None, moment))
        self._scheduler.wakeup()

    def healthy(self) -> bool:
        """Say whether the scheduler's thread lives. Between two jobs it sleeps for hours: it has no beat to watch."""
        return not self._scheduler.running or any(one.name == "APScheduler" for one in threading.enumerate())

    def _told(self, event: JobEvent) -> None:
        self.missed_count += 1
        word = _WORDS.get(event.code, "missed")
        error = event.exception if isinstance(event, JobExecutionEvent) else None
        log.error("job.missed", job=event.job_id, reason=word, error=type(error).__name__ if error else None)
