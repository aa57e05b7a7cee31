"""The composition root: makes the parts, starts the threads, turns the loop, stops in reverse order of start.

Threads: paho's two network threads (their callbacks only enqueue), this one (journal and engine), the SMS worker, the
InfluxDB mirror, the control socket, /healthz and /metrics, APScheduler's for calendar work. One owner for every piece
of state; queues with written limits between them; no locks in the core.
"""

import logging
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from sensor_guard import __version__
from sensor_guard.clock import AcceleratedClock, Clock, SystemClock
from sensor_guard.config import (
    Config,
    ServiceEnvironment,
    has_secret,
    load,
    read_secret,
    service_environment,
)
from sensor_guard.config.settings import LogSettings, is_loopback
from sensor_guard.control import ControlServer, Json
from sensor_guard.core import Core, Turn
from sensor_guard.decode import Router
from sensor_guard.errors import ConfigError, Problem
from sensor_guard.health import Counters, HealthServer, Heartbeats, tell_systemd
from sensor_guard.inbox import Inbox, Request, Work
from sensor_guard.journal import Journal, JournalUnavailableError
from sensor_guard.model import (
    ClockStepped,
    Command,
    DeliveryReport,
    Fault,
    Instant,
    LinkLost,
    Quarantined,
)
from sensor_guard.mqtt import Subscriber
from sensor_guard.notify import NOTIFIERS, SmsWorker
from sensor_guard.operations import Operations
from sensor_guard.pipe import PipeSubscriber
from sensor_guard.sinks import SINKS
from sensor_guard.sinks.mirror import DeadLetter, Mirror

ROOM = 64
"""Texts handed to the worker and not yet reported. More wait in the journal, most urgent first."""
WAIT_LIMIT = 1.0
"""Seconds that the loop sleeps at most, so that a step of the clock is noticed within one."""
STOP_WITHIN = 4.0
"""Seconds that the workers have to end; what is `sending` after that is `ambiguous` at the next start."""
RETRY_COMMIT = 1.0
"""Seconds between two tries of a commit that the disk refused."""

log = structlog.get_logger(__name__)


def run(path: Path, *, clock_path: Path | None = None, messages: TextIO | None = None) -> int:
    """Run the daemon until SIGTERM or SIGINT; the exit code.

    Args:
        path: config.yaml.
        clock_path: a clock file: accelerated time.
        messages: lines of a capture instead of a broker.

    Raises:
        ConfigError: the files are wrong and the journal holds no configuration to run on.
        AlreadyRunningError: another daemon holds the journal.
    """
    environment = service_environment()
    config = load(path)
    configure_log(config.settings.log)
    clock = _clock(config, clock_path)
    stopping = threading.Event()
    with ExitStack() as stack:
        journal = stack.enter_context(Journal.open(config.settings.journal.path))
        daemon = Daemon(config, journal, clock, environment, stopping)
        if messages is not None:
            daemon.subscriber = PipeSubscriber(messages, daemon.inbox, clock)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: daemon.stop())
        daemon.start(stack)
        daemon.loop()
        log.info("service.stopping")
        tell_systemd(environment.notify_socket, "STOPPING=1")
    log.info("service.stopped")
    return 0


class Daemon:
    """Everything that runs, on one journal."""

    def __init__(
        self,
        config: Config,
        journal: Journal,
        clock: Clock,
        environment: ServiceEnvironment,
        stopping: threading.Event,
    ) -> None:
        self.config = config
        self.journal = journal
        self.clock = clock
        self.environment = environment
        self.stopping = stopping
        self.counters = Counters()
        self.beats = Heartbeats()
        # On an accelerated clock a quarter of a second is minutes.
        self.inbox = Inbox(linger=0.25 / clock.factor**0.5)
        channel = config.settings.notifiers.order[0]
        self.router = Router(config.topics, factor=clock.factor)
        self.core = Core(journal, config.plan, self.router, channel=channel, counters=self.counters)
        self.operations = Operations(self.core, lambda: set(self.config.contacts.entries), self._status)
        self.subscriber: Subscriber | PipeSubscriber | None = None
        self.worker: SmsWorker | None = None
        self.mirror: Mirror | None = None
        self._wakes: list[threading.Event] = []
        self._handed_over: set[str] = set()  # texts that the worker has and has not reported yet

    # -- start and stop -------------------------------------------------------------------------------------------

    def start(self, stack: ExitStack) -> None:
        """Restore, then start every part; ``stack`` ends them in reverse order."""
        now = self._now()
        last_now = self.journal.last_now()
        had_session = last_now is not None
        self.core.restore(now)
        self._take(self.core.turn([LinkLost(min(now, last_now or now))], now))
        self._start_worker(stack)
        self._start_mirror(stack)
        self._start_control(stack)
        self._start_health(stack)
        self._start_scheduler(stack)
        self._start_mqtt(stack, known_until=last_now or now, had_session=had_session)
        tell_systemd(self.environment.notify_socket, "READY=1")
        log.info("service.started", version=__version__, homes=len(self.config.homes.entries))

    def stop(self) -> None:
        """End the loop after this turn. Safe in a signal handler."""
        self.stopping.set()
        self.inbox.close()

    def loop(self) -> None:
        """Turn until ``stop``; then one last checkpoint."""
        watchdog = (self.environment.watchdog_every or 0) / 3_000
        fed_at = self.clock.monotonic()
        while not self.stopping.is_set():
            events = self.inbox.take(self._timeout())
            offset = self.clock.stepped()
            now = self._now()
            if offset:
                log.warning("clock.stepped", offset_ms=offset)
                self._take(self.core.turn([ClockStepped(now - offset, offset)], now))
            self._take(self.core.turn(events, now))
            turned_at = self.clock.monotonic()
            self.counters.loop_at = turned_at
            if watchdog and turned_at - fed_at >= watchdog and not self.beats.stuck(turned_at):
                fed_at = turned_at
                tell_systemd(self.environment.notify_socket, "WATCHDOG=1")
        try:
            self.core.checkpoint_all(self._now())
        except JournalUnavailableError as error:
            # Nothing is lost: the next start replays a little more.
            log.warning("checkpoint.failed", reason=str(error))

    def _take(self, turn: Turn) -> None:
        """Commit a turn, however long it takes, and only then acknowledge, send and answer."""
        if not self._commit(turn):
            return  # never acknowledged, so the broker keeps it
        messages = turn.messages()
        if messages and self.subscriber is not None:
            self.subscriber.ack(messages)
        for notification in turn.leased:
            assert self.worker is not None
            self._handed_over.add(notification.notification_id)
            self.worker.submit(notification)
        for item in turn.items:
            if isinstance(item, DeliveryReport):
                self._handed_over.discard(item.notification_id)
        for reply, answer in turn.answers:
            reply(answer)
        if turn.items or turn.leased:
            for wake in self._wakes:
                wake.set()

    def _commit(self, turn: Turn) -> bool:
        """Commit until the disk takes it; False only when the daemon is stopped before that."""
        failed = False
        while True:
            started = self.clock.monotonic()
            room = max(0, ROOM - len(self._handed_over)) if self.worker is not None else 0
            try:
                self.core.commit(turn, room=room)
            except JournalUnavailableError as error:
                if not failed:
                    log.error("commit.failed", reason=str(error))  # noqa: TRY400 - the cause is the disk, not the code
                failed = True
                if self.stopping.wait(RETRY_COMMIT):
                    return False
                continue
            commit_ms = (self.clock.monotonic() - started) * 1_000
            self.counters.commit_ms_max = max(self.counters.commit_ms_max, commit_ms)
            if failed:
                log.info("commit.recovered")
            return True

    def _timeout(self) -> float:
        due = self.core.next_due()
        if due is None:
            return WAIT_LIMIT
        return min(WAIT_LIMIT, max(0.0, (due - self.clock.now()) / 1_000 / self.clock.factor))

    def _now(self) -> Instant:
        return self.clock.now()

    # -- the parts ------------------------------------------------------------------------------------------------

    def _start_mqtt(self, stack: ExitStack, *, known_until: Instant, had_session: bool) -> None:
        if self.subscriber is None:
            self.subscriber = self._subscriber(known_until=known_until, had_session=had_session)
        self.subscriber.start()
        stack.callback(self.subscriber.stop)

    def _subscriber(self, *, known_until: Instant, had_session: bool) -> Subscriber:
        settings = self.config.settings
        return Subscriber(
            settings.mqtt,
            settings.gateway,
            self.config.topics,
            self.inbox,
            self.clock,
            password=read_secret("mqtt_password") if has_secret("mqtt_password") else None,
            known_until=known_until,
            had_session=had_session,
        )

    def _start_worker(self, stack: ExitStack) -> None:
        name = self.config.settings.notifiers.order[0]
        notifier = NOTIFIERS[name](self.config.settings.notifiers, read_secret)
        self.worker = SmsWorker(notifier, self.config, report=self._report, fault=self._fault)
        for notification in self.journal.outbox_open():
            if notification.state in ("accepted", "ambiguous"):
                self.worker.adopt(notification)
        self._thread(stack, "sms", self.worker.step)

    def _start_mirror(self, stack: ExitStack) -> None:
        influx = self.config.settings.sinks.influxdb
        if influx is None:
            return
        cursor = self.journal.cursor("influxdb")
        if cursor is None:
            with self.journal.batch(self._now()) as batch:
                batch.save_cursor("influxdb", 0)
        sink = SINKS["influxdb"](influx, lambda: read_secret("influxdb_token"))
        source = _LazyReader(self.config.settings.journal.path)
        self.mirror = Mirror(
            sink,
            source,
            cursor=cursor or 0,
            save_cursor=lambda seq: self._work(lambda batch: batch.save_cursor("influxdb", seq)),
            bury=self._bury,
            report=self._fault,
        )
        self._thread(stack, "influxdb", self.mirror.step)

    def _start_control(self, stack: ExitStack) -> None:
        server = ControlServer(self.config.settings.runtime.directory / "control.sock", self._handle)
        thread = threading.Thread(target=server.serve_forever, name="control", daemon=True)
        thread.start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)

    def _start_health(self, stack: ExitStack) -> None:
        settings = self.config.settings.health
        try:
            server = HealthServer((settings.host, settings.port), self.counters, self._gauges, self._check)
        except OSError as error:
            # Watching others without being watched is better than not watching: say so and go on.
            log.error("health.unavailable", address=f"{settings.host}:{settings.port}", reason=str(error))  # noqa: TRY400
            return
        threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)

    def _start_scheduler(self, stack: ExitStack) -> None:
        # Calendar work only. misfire_grace_time=None: a box that was off at three prunes when it is back.
        scheduler = BackgroundScheduler(
            timezone=self.config.settings.zone,
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        scheduler.add_job(self._prune, CronTrigger(hour=3, minute=30), id="retention")
        scheduler.start()
        stack.callback(lambda: scheduler.shutdown(wait=False))

    def _thread(self, stack: ExitStack, name: str, step: Callable[[Instant], float]) -> None:
        """Loop ``step`` on a thread of its own until the daemon stops; it sleeps as long as the step says."""
        wake = threading.Event()
        self._wakes.append(wake)

        def body() -> None:
            while not self.stopping.is_set():
                self.beats.beat(name, self.clock.monotonic())
                try:
                    wait = step(self._now()) / self.clock.factor
                except Exception:
                    # A fault of one part must not end its thread unseen; the others go on.
                    log.exception("thread.failed", thread=name)
                    wait = 5.0
                if wait > 0:
                    wake.wait(min(wait, 10.0))
                wake.clear()

        thread = threading.Thread(target=body, name=name, daemon=True)
        thread.start()
        stack.callback(lambda: (wake.set(), thread.join(STOP_WITHIN)))

    # -- what the parts say -----------------------------------------------------------------------------------------

    def _report(self, report: DeliveryReport) -> None:
        self.inbox.put(report)

    def _fault(self, fault: Fault) -> None:
        self.inbox.put(fault)

    def _work(self, apply: Callable[..., object]) -> None:
        self.inbox.put(Work(apply))

    def _bury(self, letter: DeadLetter) -> None:
        topic = f"influxdb/{letter.seq}"
        row = Quarantined(topic, letter.line.encode(), "refused", letter.detail, letter.at)
        self._work(lambda batch: batch.quarantine([row]))

    def _prune(self) -> None:
        settings = self.config.settings.journal

        def step() -> object:
            pruned = self.journal.prune(
                self._now(), keep_readings=settings.keep_readings, keep_alarms=settings.keep_alarms
            )
            if pruned:
                self._prune()  # in small steps: what arrives meanwhile comes first
            return pruned

        self.inbox.put(Request(step, lambda _answer: None))

    def _handle(self, request: Json, uid: int) -> Json:
        """Carry out a request of the control socket, on the socket's thread: hand it over and wait."""
        if request.get("verb") == "prune":
            self._prune()
            return {"ok": True, "steps": 0}
        done = threading.Event()
        answers: list[object] = []

        def reply(answer: object) -> None:
            answers.append(answer)
            done.set()

        item = self.operations.prepare(request, uid, self._now())
        self.inbox.put(Request(item, reply), urgent=True)
        if not done.wait(30.0):
            return {"error": "the daemon has not committed it within 30 s; see `sensor-guard status` and the log"}
        if isinstance(item, Command):
            return {"ok": True, "command_id": item.command_id} if answers[0] is None else {"error": answers[0]}
        return answers[0] if isinstance(answers[0], dict) else {"error": str(answers[0])}

    # -- how it is --------------------------------------------------------------------------------------------------

    def _status(self) -> Json:
        sizes = self.journal.reader.sizes()
        status: Json = {
            "running": True,
            "version": __version__,
            "homes": len(self.config.homes.entries),
            "connected": bool(self.subscriber and self.subscriber.connected()),
            "drained": self.core.engine.drained,
            "open_alarms": sizes.open_alarms,
            "messages": self.counters.messages,
            "texts": sizes.texts,
            "last_turn_at": sizes.last_now,
            "journal_mb": round(sizes.file_bytes / 1e6, 1),
            "quarantined": sizes.quarantined,
        }
        if self.mirror is not None:
            mirror = self.mirror.status(self._now())
            status["influxdb"] = f"{mirror.state}, {mirror.depth} behind"
        return status

    def _gauges(self) -> dict[str, float]:
        gauges = {
            "inbox_depth": float(self.inbox.depth()),
            "homes": float(len(self.core.engine.homes)),
            "connected": float(bool(self.subscriber and self.subscriber.connected())),
            "drained": float(self.core.engine.drained),
        }
        if self.mirror is not None:
            mirror = self.mirror.status(self._now())
            gauges["influxdb_backlog"] = float(mirror.depth)
            gauges["influxdb_backlog_age_seconds"] = mirror.age / 1_000
        return gauges

    def _check(self) -> tuple[bool, Json]:
        now = self.clock.monotonic()
        stuck = self.beats.stuck(now)
        turning = now - self.counters.loop_at < 30.0
        connected = bool(self.subscriber and self.subscriber.connected())
        return turning and not stuck and connected, {
            "loop": turning,
            "stuck": stuck,
            "connected": connected,
            "drained": self.core.engine.drained,
        }


class _LazyReader:
    """The journal's reader for the mirror's thread: opened there, since SQLite's connections stay on their thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: Any = None

    def _open(self) -> Any:  # noqa: ANN401 - journal.Reader
        if self._reader is None:
            from sensor_guard.journal import Reader  # noqa: PLC0415

            self._reader = Reader.open(self._path)
        return self._reader

    def rows_after(self, cursor: int, limit: int) -> Any:  # noqa: ANN401
        return self._open().rows_after(cursor, limit)

    def head(self) -> int:
        return int(self._open().head())


def _clock(config: Config, clock_path: Path | None) -> Clock:
    if clock_path is None:
        return SystemClock()
    if not is_loopback(config.settings.mqtt.host):
        raise ConfigError(
            [Problem(str(config.path), 0, 0, "mqtt.host", "accelerated time is for a broker on this machine only")]
        )
    try:
        return AcceleratedClock.load(clock_path)
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(str(clock_path), 0, 0, "", str(error))]) from error


def configure_log(settings: LogSettings, stream: TextIO = sys.stderr) -> None:
    """Set structlog up: JSON lines for a service, colours for a terminal."""
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.level.upper())),
        logger_factory=structlog.PrintLoggerFactory(stream),
    )


__all__ = ["Daemon", "configure_log", "run"]
