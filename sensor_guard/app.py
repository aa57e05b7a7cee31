"""The composition root: makes the parts, starts the threads, turns the loop, stops in reverse order of start.

Threads: two of MQTT (they only enqueue), this one (journal and engine), the SMS worker, the InfluxDB mirror, the
control socket, /healthz and /metrics, APScheduler's for calendar work. One owner for every piece of state; queues with
written limits between them; no locks in the core.
"""

import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

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
from sensor_guard.config.settings import is_loopback
from sensor_guard.control import ControlServer, Json
from sensor_guard.core import Core, Turn
from sensor_guard.decode import Router
from sensor_guard.errors import ConfigError, Problem
from sensor_guard.health import Counters, HealthServer, Heartbeats, tell_systemd
from sensor_guard.inbox import Inbox, Request, Work
from sensor_guard.journal import AlarmStep, Journal, JournalUnavailableError, Reader
from sensor_guard.logs import configure_log
from sensor_guard.model import (
    DAY,
    ClockStepped,
    Command,
    Fault,
    Instant,
    NotificationState,
    Quarantined,
    Reading,
)
from sensor_guard.mqtt import Access, Before, Subscriber, Topics
from sensor_guard.notify import NOTIFIERS
from sensor_guard.notify.worker import SmsWorker
from sensor_guard.operations import Operations
from sensor_guard.pipe import PipeSubscriber
from sensor_guard.sinks import SINKS
from sensor_guard.sinks.mirror import DeadLetter, Mirror
from sensor_guard.standing import Standing

WAIT_LIMIT = 1.0
"""Seconds that the loop sleeps at most, so that a step of the clock is noticed within one."""
STOP_WITHIN = 4.0
"""Seconds that the workers have to end; what is `sending` after that is `ambiguous` at the next start."""
RETRY_COMMIT = 1.0
"""Seconds between two tries of a commit that the disk refused."""
ANSWER_WITHIN = 30.0
"""Seconds after which a person is told that the commit has not happened."""
LINGER = 0.25
"""Seconds that a reading waits at most for company, so that a cheap disk is not written once per message."""

log = structlog.get_logger(__name__)


def run(path: Path, *, clock_path: Path | None = None, messages: TextIO | None = None) -> int:
    """Run the daemon until SIGTERM or SIGINT; the exit code.

    Args:
        path: config.yaml.
        clock_path: a clock file: accelerated time.
        messages: lines of a capture instead of a broker.

    Raises:
        ConfigError: the files are wrong.
        AlreadyRunningError: another daemon holds the journal.
    """
    environment = service_environment()
    config = load(path)
    configure_log(config.settings.log)
    clock = _clock(config, clock_path)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal.open(config.settings.journal.path))
        daemon = Daemon(config, journal, clock, environment)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: daemon.stop())
        daemon.start(stack, messages)
        daemon.loop()
        log.info("service.stopping")
        tell_systemd(environment.notify_socket, "STOPPING=1")
    log.info("service.stopped")
    return 0


class Daemon:
    """Everything that runs, on one journal."""

    def __init__(self, config: Config, journal: Journal, clock: Clock, environment: ServiceEnvironment) -> None:
        self.config = config
        self.journal = journal
        self.clock = clock
        self.environment = environment
        self.stopping = threading.Event()
        # On an accelerated clock a quarter of a second is minutes.
        self.inbox = Inbox(linger=LINGER / clock.factor**0.5)
        self.router = Router(config.topics, factor=clock.factor)
        counters = Counters()
        self.core = Core(
            journal, config.plan, self.router, channel=config.settings.notifiers.order[0], counters=counters
        )
        self.standing = Standing(
            self.core, clock, self.inbox, counters, Heartbeats(), home_count=len(config.homes.entries)
        )
        self.operations = Operations(self.core, lambda: set(config.contacts.entries), self.standing.status)
        self._wakes: list[threading.Event] = []
        self._watchdog_fed_at = 0.0

    # -- start and stop -------------------------------------------------------------------------------------------

    def start(self, stack: ExitStack, messages: TextIO | None = None) -> None:
        """Restore, then start every part; ``stack`` ends them in reverse order."""
        had_session = self.journal.last_now() is not None
        self.core.restore(self.clock.now(), blind_start=True)
        self._start_worker(stack)
        self._start_mirror(stack)
        self._start_control(stack)
        self._start_health(stack)
        self._start_scheduler(stack)
        self._start_mqtt(stack, messages, had_session=had_session)
        tell_systemd(self.environment.notify_socket, "READY=1")
        log.info("service.started", version=__version__, homes=len(self.config.homes.entries))

    def stop(self) -> None:
        """End the loop after this turn. Called by a signal handler: takes no lock that the loop may hold."""
        self.stopping.set()

    def loop(self) -> None:
        """Turn until ``stop``; then one last checkpoint."""
        clock = self.clock
        while not self.stopping.is_set():
            events = self.inbox.take(self._timeout())
            offset, now = clock.stepped(), clock.now()
            if offset:
                log.warning("clock.stepped", offset_ms=offset)
                if not self._turn(self.core.turn([ClockStepped(now - offset, offset)], now)):
                    break
                if self.standing.worker is not None:
                    self.standing.worker.shift(offset)
            if not self._turn(self.core.turn(events, now)):
                break
            self._turned()
        try:
            self.core.checkpoint_all(clock.now())
        except JournalUnavailableError as error:
            # Nothing is lost: the next start replays a little more.
            log.warning("checkpoint.failed", reason=str(error))

    def _turned(self) -> None:
        """Note that the loop lives, and tell the watchdog if every other thread does too."""
        now = self.standing.counters.loop_at = self.clock.monotonic()
        every = (self.environment.watchdog_every or 0) / 3_000
        if every and now - self._watchdog_fed_at >= every and self.standing.is_alive(now):
            self._watchdog_fed_at = now
            tell_systemd(self.environment.notify_socket, "WATCHDOG=1")

    def _turn(self, turn: Turn) -> bool:
        """Commit a turn, however long it takes, and only then acknowledge, send and answer.

        False only when the daemon is stopped before that: nothing was acknowledged, so the broker keeps it.
        """
        if not self._commit(turn):
            return False
        messages = turn.messages()
        if messages and self.standing.subscriber is not None:
            self.standing.subscriber.ack(messages)
        if turn.leased:
            assert self.standing.worker is not None
            for notification in turn.leased:
                self.standing.worker.submit(notification)
        for reply, answer in turn.answers:
            reply(answer)
        if turn.items or turn.leased:
            for wake in self._wakes:
                wake.set()
        return True

    def _commit(self, turn: Turn) -> bool:
        """Commit until the disk takes it; False only when the daemon is stopped before that."""
        failed, counters = False, self.standing.counters
        while True:
            started = self.clock.monotonic()
            worker = self.standing.worker
            try:
                self.core.commit(turn, room=worker.room(turn.now) if worker is not None else 0)
            except JournalUnavailableError as error:
                if not failed:
                    log.error("commit.failed", reason=str(error))  # noqa: TRY400 - the cause is the disk, not the code
                failed = True
                self._turned()  # a full disk is no reason to be restarted: nothing is lost while we wait
                if self.stopping.wait(RETRY_COMMIT):
                    return False
                continue
            counters.commit_ms_max = max(counters.commit_ms_max, (self.clock.monotonic() - started) * 1_000)
            if failed:
                log.info("commit.recovered")
            return True

    def _timeout(self) -> float:
        now, worker = self.clock.now(), self.standing.worker
        due = self.core.next_due(room_at=worker.room_at(now) if worker is not None else now)
        if due is None:
            return WAIT_LIMIT
        return min(WAIT_LIMIT, max(0.0, (due - now) / 1_000 / self.clock.factor))

    # -- the parts ------------------------------------------------------------------------------------------------

    def _start_mqtt(self, stack: ExitStack, messages: TextIO | None, *, had_session: bool) -> None:
        subscriber: Subscriber | PipeSubscriber
        if messages is not None:
            subscriber = PipeSubscriber(messages, self.inbox, self.clock)
        else:
            settings = self.config.settings
            password = (lambda: read_secret("mqtt_password")) if has_secret("mqtt_password") else None
            subscriber = Subscriber(
                Access(settings.mqtt, settings.gateway, password),
                Topics(self.router.filters, self.router.urgent_topics),
                self.inbox,
                self.clock,
                # The engine stands still where the last process ended, or where that one had lost the link.
                Before(known_until=self.core.engine.frozen_at, had_session=had_session),
            )
        self.standing.subscriber = subscriber
        for name, body in subscriber.start():
            threading.Thread(target=body, name=name, daemon=True).start()
        stack.callback(subscriber.stop)

    def _start_worker(self, stack: ExitStack) -> None:
        notifiers = self.config.settings.notifiers
        notifier = NOTIFIERS[notifiers.order[0]](notifiers, lambda: read_secret("twilio_auth_token"))
        worker = SmsWorker(notifier, self.config, report=self.inbox.put, tell=self.inbox.put)
        for recipient_id, at in self.journal.texts_tried_since(self.clock.now() - DAY):
            worker.remember(recipient_id, at)
        for notification in self.journal.outbox_open():
            if notification.state in (NotificationState.ACCEPTED, NotificationState.AMBIGUOUS):
                worker.adopt(notification)
        self.standing.worker = worker
        self._thread(stack, "sms", worker.step)

    def _start_mirror(self, stack: ExitStack) -> None:
        influx, cursor = self.config.settings.sinks.influxdb, self.journal.cursor("influxdb")
        with self.journal.batch(self.clock.now()) as batch:
            if influx is None:
                batch.delete_cursor("influxdb")  # pruning would wait for it for ever
                return
            batch.save_cursor("influxdb", cursor or 0)
        mirror = Mirror(
            SINKS["influxdb"](influx, lambda: read_secret("influxdb_token")),
            _JournalSource(self.config.settings.journal.path),
            cursor=cursor or 0,
            save_cursor=self._save_cursor,
            bury=self._bury,
            report=self._tell,
        )
        self.standing.mirror = mirror
        self._thread(stack, "influxdb", mirror.step)

    def _start_control(self, stack: ExitStack) -> None:
        server = ControlServer(self.config.settings.runtime.directory / "control.sock", self._handle)
        threading.Thread(target=server.serve_forever, name="control", daemon=True).start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)

    def _start_health(self, stack: ExitStack) -> None:
        settings, standing = self.config.settings.health, self.standing
        address = (settings.host, settings.port)
        try:
            server = HealthServer(address, standing.counters, standing.gauges, standing.check)
        except OSError as error:
            # Watching others without being watched is better than not watching: say so and go on.
            log.error("health.unavailable", address=f"{settings.host}:{settings.port}", reason=str(error))  # noqa: TRY400
            return
        threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)

    def _start_scheduler(self, stack: ExitStack) -> None:
        # Calendar work only. misfire_grace_time=None: a box that was off at half past three prunes when it is back.
        scheduler = BackgroundScheduler(
            timezone=self.config.settings.zone,
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        scheduler.add_job(self._prune, CronTrigger(hour=3, minute=30, timezone=self.config.settings.zone))
        scheduler.start()
        stack.callback(lambda: scheduler.shutdown(wait=False))

    def _thread(self, stack: ExitStack, name: str, step: Callable[[Instant], float]) -> None:
        """Loop ``step`` on a thread of its own until the daemon stops; it sleeps as long as the step says."""
        wake = threading.Event()
        self._wakes.append(wake)

        def body() -> None:
            while not self.stopping.is_set():
                self.standing.beats.beat(name, self.clock.monotonic())
                wake.clear()
                try:
                    wait = step(self.clock.now()) / self.clock.factor
                except Exception:
                    # A fault of one part must not end its thread unseen; the others go on.
                    log.exception("thread.failed", thread=name)
                    wait = 5.0
                if wait > 0:
                    wake.wait(min(wait, 10.0))

        def end() -> None:
            self.stopping.set()
            wake.set()
            thread.join(STOP_WITHIN)

        thread = threading.Thread(target=body, name=name, daemon=True)
        thread.start()
        stack.callback(end)

    # -- what the parts say -----------------------------------------------------------------------------------------

    def _tell(self, fault: Fault) -> None:
        self.inbox.put(fault)

    def _save_cursor(self, seq: int) -> None:
        self.inbox.put(Work(lambda batch: batch.save_cursor("influxdb", seq)))

    def _bury(self, letter: DeadLetter) -> None:
        row = Quarantined(f"influxdb/{letter.seq}", letter.line.encode(), "refused", letter.detail, letter.at)
        self.inbox.put(Work(lambda batch: batch.quarantine([row])))

    def _prune(self) -> None:
        """Remove what is older than the operator keeps, a step a turn: what arrives meanwhile comes first."""
        settings = self.config.settings.journal

        def step() -> object:
            pruned = self.journal.prune(
                self.clock.now(), keep_readings=settings.keep_readings, keep_alarms=settings.keep_alarms
            )
            if pruned:
                self._prune()
            return pruned

        self.inbox.put(Request(step, lambda _answer: None))

    def _handle(self, request: Json, uid: int) -> Json:
        """Carry out a request of the control socket, on the socket's thread: hand it over and wait."""
        if request.get("verb") == "prune":
            self._prune()
            return {"ok": True, "steps": None}
        done = threading.Event()
        answers: list[object] = []

        def reply(answer: object) -> None:
            answers.append(answer)
            done.set()

        item = self.operations.prepare(request, uid, self.clock.now())
        self.inbox.put(Request(item, reply), urgent=True)
        if not done.wait(ANSWER_WITHIN):
            return {"error": f"not committed within {ANSWER_WITHIN:g} s; see `sensor-guard status` and the log"}
        if isinstance(item, Command):
            return {"ok": True, "command_id": item.command_id} if answers[0] is None else {"error": str(answers[0])}
        return answers[0] if isinstance(answers[0], dict) else {"error": str(answers[0])}


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


class _JournalSource:
    """The journal as the mirror sees it: a reader of its own, opened on the mirror's thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: Reader | None = None

    def rows_after(self, cursor: int, limit: int) -> Sequence[tuple[int, Reading | AlarmStep]]:
        return self._open().rows_after(cursor, limit)

    def head(self) -> int:
        return self._open().head()

    def _open(self) -> Reader:
        if self._reader is None:
            self._reader = Reader.open(self._path)
        return self._reader
