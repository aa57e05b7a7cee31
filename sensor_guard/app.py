"""The composition root: makes the parts, starts the threads, turns the loop, stops in reverse order of start.

Threads: two of MQTT (they only enqueue), this one (journal and engine), the SMS worker, the InfluxDB mirror, the
control socket, /healthz and /metrics, APScheduler's for calendar work; all of them are watched, and the watchdog is
fed only while each one moves. The siren's and the heartbeat's are not: they wait for what is outside. One owner for
every piece of state; queues with written limits between them; no locks in the core.
"""

import gc
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

import structlog

from sensor_guard import __version__
from sensor_guard.beginning import begin, open_journal
from sensor_guard.clock import AcceleratedClock, Clock, Synchrony, SystemClock
from sensor_guard.config import Config, LastGood, Loaded, ServiceEnvironment, load_for_service, service_environment
from sensor_guard.config.settings import is_loopback
from sensor_guard.control import ControlServer, Json
from sensor_guard.core import Core
from sensor_guard.decode import Router
from sensor_guard.errors import ConfigError, Problem, StartError
from sensor_guard.health import Counters, HealthServer, Heartbeats, tell_systemd, watch_threads
from sensor_guard.inbox import Inbox, Request
from sensor_guard.journal import (
    Ballast,
    ForeignFileError,
    Journal,
    JournalCorruptError,
    JournalFullError,
    Mended,
    suspect,
)
from sensor_guard.line import Line
from sensor_guard.logs import configure_log
from sensor_guard.memory import Tidy, collect_rarely, use_one_arena
from sensor_guard.model import Command
from sensor_guard.mqtt import Before, Subscriber, Topics
from sensor_guard.operations import Operations
from sensor_guard.parts import (
    Threads,
    damage_told,
    make_heartbeat,
    make_mirror,
    make_siren,
    make_subscriber,
    make_untold,
    make_worker,
    patience,
)
from sensor_guard.reload import Reloader
from sensor_guard.room import Room
from sensor_guard.schedule import Calendar
from sensor_guard.standing import Standing

ANSWER_WITHIN = 30.0
"""Seconds after which a person is told that the commit has not happened."""
MEND_AGAIN = 3_600.0
"""Seconds after which a journal that is found damaged once more is mended without a restart of the process."""
RELOAD_WITHIN = 240.0
"""Likewise for a reload, which reads every file anew."""
LINGER = 0.25
"""Seconds that a reading waits at most for company, so that a cheap disk is not written once per message."""

SWITCH_AFTER = 0.000_5
"""Seconds for which a thread runs on while another one waits to. With Python's own 5 ms a call for help waits so long
behind each of its steps for a thread that reads a backlog: a POST beside two of them took 20 ms, and takes 7.
"""

log = structlog.get_logger(__name__)


def run(path: Path, *, clock_path: Path | None = None, messages: TextIO | None = None) -> int:
    """Run the daemon until SIGTERM or SIGINT; the exit code.

    Args:
        path: config.yaml.
        clock_path: a clock file: accelerated time.
        messages: lines of a capture instead of a broker.

    Raises:
        ConfigError: the files are wrong, and there is no last good configuration to run on.
        AlreadyRunningError: another daemon holds the journal.
        JournalError: the journal cannot be used, or the disk takes nothing at the start.
        StartError: another file or socket that the daemon needs cannot be made.
    """
    environment = service_environment()
    use_one_arena()
    # Whatever is made until the daemon runs stays. To look through it for garbage over and over is a third of a start.
    gc.disable()
    sys.setswitchinterval(SWITCH_AFTER)
    hangups: SimpleQueue[None] = SimpleQueue()
    # From the first moment: by default a SIGHUP is the end.
    signal.signal(signal.SIGHUP, lambda *_: hangups.put(None))
    loaded = load_for_service(path)
    config = loaded.config
    configure_log(config.settings.log)
    clock = _clock(config, clock_path)
    mended_at: float | None = None
    while True:
        try:
            return _run(loaded, clock, environment, messages, hangups)
        except JournalFullError:
            # The loop makes room for itself; before it turns, to come up takes some too.
            ballast = Ballast(config.settings.journal.path)
            if not ballast.release():
                raise
            log.error("disk.full", free_bytes=ballast.free())  # noqa: TRY400 - the cause is the disk, not the code
        except JournalCorruptError as error:
            if isinstance(error, ForeignFileError) or not _may_mend(mended_at, clock.monotonic()):
                raise
            mended_at = clock.monotonic()
            log.error("journal.damaged", reason=str(error))  # noqa: TRY400 - the cause is the disk, not the code
            suspect(error.path, str(error))
            loaded = _loaded_anew(path, loaded)


def _loaded_anew(path: Path, loaded: Loaded) -> Loaded:
    """Give what a start would run on now: a reload may have put another configuration in force since."""
    try:
        return load_for_service(path)
    except ConfigError:
        return loaded


def _may_mend(last: float | None, now: float) -> bool:
    """One that is damaged again so soon lies on a disk that is dying, or shows a fault of ours: let it be seen."""
    return last is None or now - last > MEND_AGAIN


def _run(
    loaded: Loaded,
    clock: Clock,
    environment: ServiceEnvironment,
    messages: TextIO | None,
    hangups: SimpleQueue[None],
) -> int:
    """Run on the journal as it is, or as it could be mended.

    Raises:
        JournalCorruptError: it was found damaged since.
        JournalUnavailableError: the disk takes nothing, and the daemon has not come up.
        StartError: another file or socket that it needs cannot be made.
    """
    with ExitStack() as stack:
        journal, mended = open_journal(loaded.config.settings.journal.path, clock)
        stack.callback(journal.close)
        daemon = Daemon(loaded, journal, clock, environment, mended)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: daemon.stop())
        signal.signal(signal.SIGHUP, lambda *_: daemon.reloader.ask())
        if not hangups.empty():
            daemon.reloader.ask()
        try:
            daemon.start(stack, messages)
        except OSError as error:
            raise StartError(f"{error.filename or 'the daemon cannot start'}: {error.strerror or error}") from error
        collect_rarely()
        daemon.loop()
        log.info("service.stopping")
        tell_systemd(environment.notify_socket, "STOPPING=1")
    log.info("service.stopped")
    return 0


class Daemon:
    """Everything that runs, on one journal."""

    def __init__(
        self,
        loaded: Loaded,
        journal: Journal,
        clock: Clock,
        environment: ServiceEnvironment,
        mended: Mended | None = None,
    ) -> None:
        self.config = config = loaded.config
        self.journal = journal
        self.clock = clock
        self.environment = environment
        self.mended = mended
        self.stopping = threading.Event()
        # On an accelerated clock a quarter of a second is minutes.
        self.inbox = Inbox(linger=LINGER / clock.factor**0.5)
        self.router = Router(config.topics, factor=clock.factor)
        counters = Counters()
        self.core = Core(
            journal, loaded.written, self.router, channel=config.settings.notifiers.order[0], counters=counters
        )
        self.standing = Standing(
            self.core, clock, self.inbox, counters, Heartbeats(), home_count=len(config.homes.entries)
        )
        # A clock that runs faster is nobody's wall clock.
        known = isinstance(clock, SystemClock)
        self.synchrony = Synchrony(journal.last_now(), clock.monotonic()) if known else None
        self.line = Line(
            self.core,
            self.standing,
            clock,
            pause=self.stopping.wait,
            turned=self._turned,
            room=Room(self.core, clock, Ballast(journal.path)),
            synchrony=self.synchrony,
        )
        self.line.notices_pauses = True
        self.operations = Operations(self.core, lambda: set(self.config.contacts.entries), self.standing.status)
        self.reloader = Reloader(
            loaded,
            LastGood.beside(config.settings.journal.path),
            self.core,
            self.inbox,
            clock=clock,
            prepare=self._prepare,
            resume=self._resume,
            tell=lambda word: tell_systemd(environment.notify_socket, word),
        )
        self.standing.configuration = self.reloader.standing
        self._watchdog_fed_at = 0.0
        self._tidy = Tidy(clock.monotonic())
        watch_threads(self.standing.beats)

    # -- start and stop -------------------------------------------------------------------------------------------

    def start(self, stack: ExitStack, messages: TextIO | None = None) -> None:
        """Restore, then start every part; ``stack`` ends them in reverse order."""
        config, journal, standing = self.config, self.journal, self.standing
        had_session = journal.last_now() is not None
        begin(self.core, self.mended, self.clock.now(), clock_known=self._clock_known())
        fault = self.reloader.told_at_start(self.clock.now())
        if fault is not None:
            self.inbox.put(fault)
        threads = Threads(stack, self.stopping, self.clock, standing.beats)
        standing.worker = make_worker(config, journal, self.inbox, self.clock.now())
        self.line.tellers.append(threads.loop("sms", standing.worker.step, limit=self._sms_limit()))
        standing.mirror = make_mirror(config, journal, self.inbox, self.clock.now())
        if standing.mirror is not None:
            influx = config.settings.sinks.influxdb
            limit = patience(influx.timeout) if influx is not None else None
            self.line.wakes.append(threads.loop("influxdb", standing.mirror.step, limit=limit))
        threads.serve("control", ControlServer(config.settings.runtime.directory / "control.sock", self._handle))
        self._start_health(threads)
        self._start_outward(threads)
        self._start_calendar(stack)
        topics = Topics(self.router.filters, self.router.urgent_topics)
        # The engine stands still where the last process ended, or where that one had lost the link.
        before = Before(
            known_until=self.core.engine.frozen_at,
            had_session=had_session,
            was_offline=self.core.has_fault("broker_offline"),
        )
        standing.subscriber = make_subscriber(config, topics, self.inbox, self.clock, before, messages)
        if isinstance(standing.subscriber, Subscriber):
            standing.subscriber.report_by(standing.report)
        threads.subscribe(standing.subscriber)
        stack.callback(self.reloader.close)
        threads.loop("reload", self.reloader.step, limit=RELOAD_WITHIN)
        tell_systemd(self.environment.notify_socket, "READY=1")
        log.info("service.started", version=__version__, homes=len(config.homes.entries))

    def stop(self) -> None:
        """End the loop after this turn. Called by a signal handler: takes no lock that the loop may hold."""
        self.stopping.set()

    def loop(self) -> None:
        """Turn until ``stop``; then one last checkpoint."""
        while not self.stopping.is_set():
            if not self.line.step(self.line.take()):
                break
        self.line.end()

    def _turned(self) -> None:
        """Note that the loop lives, and tell the watchdog if every other thread does too."""
        now = self.standing.counters.loop_at = self.clock.monotonic()
        self.standing.faults = self.core.faults()
        self._tidy.look(now)
        every = (self.environment.watchdog_every or 0) / 3_000
        if every and now - self._watchdog_fed_at >= every and self.standing.is_alive(now):
            self._watchdog_fed_at = now
            tell_systemd(self.environment.notify_socket, "WATCHDOG=1")

    def _clock_known(self) -> bool | None:
        if self.synchrony is None:
            return None
        self.synchrony.look(self.clock.monotonic())
        return self.synchrony.is_known(self.clock.now())

    def _sms_limit(self) -> float:
        twilio = self.config.settings.notifiers.twilio
        return patience(twilio.timeout if twilio is not None else 0)

    def _start_outward(self, threads: Threads) -> None:
        standing = self.standing
        standing.untold = make_untold(self.config, standing.counters, self.clock, self.inbox)
        siren = make_siren(self.config, standing.untold, self.clock)
        self.line.tellers.append(threads.loop("siren", siren.step, limit=None))
        standing.heartbeat = make_heartbeat(self.config, standing.outward, self.clock)
        if standing.heartbeat is not None:
            threads.loop("heartbeat", standing.heartbeat.step, limit=None)

    def _start_calendar(self, stack: ExitStack) -> None:
        calendar = self.standing.calendar = Calendar(self.config.settings.zone)
        calendar.daily("prune", self._prune, hour=3, minute=30)
        calendar.start(stack)
        self.line.on_step.append(lambda _offset: calendar.replan(self.clock.now()))

    def _start_health(self, threads: Threads) -> None:
        settings, standing = self.config.settings.health, self.standing
        address = (settings.host, settings.port)
        try:
            server = HealthServer(address, standing.counters, standing.gauges, standing.check)
        except OSError as error:
            # Watching others without being watched is better than not watching: say so and go on.
            log.error("health.unavailable", address=f"{settings.host}:{settings.port}", reason=str(error))  # noqa: TRY400
            return
        threads.serve("health", server)

    # -- another configuration ------------------------------------------------------------------------------------

    def _prepare(self, config: Config) -> Callable[[], None]:
        """Make what follows a configuration, on the reloader's thread; what is given swaps it in, on the engine's."""
        router = Router(config.topics, factor=self.clock.factor)

        def taken() -> None:
            self.config, self.router = config, router
            self.core.read_with(router)
            self.standing.home_count = len(config.homes.entries)
            if self.standing.worker is not None:
                self.standing.worker.use(config)
            if isinstance(self.standing.subscriber, Subscriber):
                self.standing.subscriber.follow(Topics(router.filters, router.urgent_topics))

        return taken

    def _resume(self) -> None:
        """Take secrets and connections anew: whoever reloads may have put a new token beside the files."""
        if self.standing.worker is not None:
            self.standing.worker.resume()
            self.line.wake_tellers()
        if self.standing.mirror is not None:
            self.standing.mirror.resume()

    # -- what people and the calendar ask for ---------------------------------------------------------------------

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
        within = ANSWER_WITHIN

        def reply(answer: object) -> None:
            answers.append(answer)
            done.set()

        item: object = None
        if request.get("verb") == "reload":
            within = RELOAD_WITHIN
            self.reloader.ask(reply)
        else:
            with damage_told(self.inbox):  # a code is looked up in the file, on this thread
                item = self.operations.prepare(request, uid, self.clock.now())
            self.inbox.put(Request(item, reply), urgent=True)
        if not done.wait(within):
            return {"error": f"not committed within {within:g} s; see `sensor-guard status` and the log"}
        if isinstance(item, Command):
            return {"ok": True, "command_id": item.command_id} if answers[0] is None else {"error": str(answers[0])}
        return answers[0] if isinstance(answers[0], dict) else {"error": str(answers[0])}


def _clock(config: Config, clock_path: Path | None) -> Clock:
    if clock_path is None:
        return SystemClock(config.settings.runtime.directory / "clock.json")
    if not is_loopback(config.settings.mqtt.host):
        raise ConfigError(
            [Problem(str(config.path), 0, 0, "mqtt.host", "accelerated time is for a broker on this machine only")]
        )
    try:
        return AcceleratedClock.load(clock_path)
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(str(clock_path), 0, 0, "", str(error))]) from error
