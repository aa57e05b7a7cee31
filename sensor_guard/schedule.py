"""Calendar work only: what is to be done at a time of day. Everything that is counted in hours is the engine's.

APScheduler sleeps by the wall clock and drops what it finds late, so each job is told to run however late it is
(``misfire_grace_time=None``), once (``coalesce``), and only ever puts something into the inbox.
"""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import tzinfo

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger


def start_schedule(stack: ExitStack, zone: tzinfo, prune: Callable[[], None]) -> None:
    """Prune every night at half past three, local time."""
    scheduler = BackgroundScheduler(
        timezone=zone, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
    )
    scheduler.add_job(prune, CronTrigger(hour=3, minute=30, timezone=zone))
    scheduler.start()
    stack.callback(lambda: scheduler.shutdown(wait=False))
