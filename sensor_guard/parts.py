"""How each part of the daemon is made from the configuration and the journal, and how its thread is kept turning.

Every part's thread loops one ``step(now)``, which says for how many seconds there is nothing to do. What a part has to
say goes into the inbox.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socketserver import BaseServer
from typing import TextIO

import structlog

from sensor_guard.clock import Clock
from sensor_guard.config import Config, has_secret, read_secret
from sensor_guard.config.secrets import HEARTBEAT_URL
from sensor_guard.health import STUCK_AFTER, Counters, Heartbeats
from sensor_guard.inbox import Inbox, Probe, Work
from sensor_guard.journal import AlarmStep, Journal, JournalCorruptError, Reader
from sensor_guard.model import DAY, SECOND, Fault, Instant, NotificationState, Quarantined, Reading, Span
from sensor_guard.mqtt import Access, Before, Subscriber, Topics
from sensor_guard.notify import NOTIFIERS
from sensor_guard.notify.worker import SmsWorker
from sensor_guard.outward import Command, Heartbeat, Siren, Untold
from sensor_guard.pipe import PipeSubscriber
from sensor_guard.sinks import SINKS
from sensor_guard.sinks.mirror import DeadLetter, Mirror

STOP_WITHIN = 4.0
"""Seconds that the workers have to end; what is `sending` after that is `ambiguous` at the next start."""

log = structlog.get_logger(__name__)


class Threads:
    """Starts the threads, wakes them, and ends them in reverse order of start."""

    def __init__(self, stack: ExitStack, stopping: threading.Event, clock: Clock, beats: Heartbeats) -> None:
        self._stack, self._stopping, self._clock, self._beats = stack, stopping, clock, beats

    def loop(
        self, name: str, step: Callable[[Instant], float], *, limit: float | None = STUCK_AFTER
    ) -> Callable[[], None]:
        """Loop ``step`` on a thread of its own until the daemon stops; give what wakes it early.

        limit: seconds that one step may take before the watchdog has the daemon restarted; None: as long as it likes,
            for what waits for somebody outside and is of no use to an alarm's ordinary way.
        """
        wake = threading.Event()
        if limit is not None:
            self._beats.allow(name, limit)

        def body() -> None:
            while not self._stopping.is_set():
                if limit is not None:
                    self._beats.beat(name, self._clock.monotonic())
                wake.clear()
                try:
                    wait = step(self._clock.now()) / self._clock.factor
                except Exception:
                    # A fault of one part must not end its thread unseen; the others go on.
                    log.exception("thread.failed", thread=name)
                    wait = 5.0
                if wait > 0:
                    wake.wait(min(wait, 10.0))

        def end() -> None:
            self._stopping.set()
            wake.set()
            thread.join(STOP_WITHIN)

        thread = threading.Thread(target=body, name=name, daemon=True)
        thread.start()
        self._stack.callback(end)
        return wake.set

    def serve(self, name: str, server: BaseServer) -> None:
        """Let a server answer until the daemon stops. It is watched: its loop turns twice a second, asked or not."""

        def turned() -> None:
            self._beats.beat(name, self._clock.monotonic())

        # socketserver calls it once a turn, and has it do nothing.
        server.service_actions = turned  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, name=name, daemon=True).start()
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)

    def subscribe(self, subscriber: Subscriber | PipeSubscriber) -> None:
        """Turn the connections."""
        for name, body in subscriber.start():
            threading.Thread(target=body, name=name, daemon=True).start()
        self._stack.callback(subscriber.stop)


def patience(timeout: Span) -> float:
    """Say how many seconds a step may take that calls somebody with this time-out: an outage restarts nothing.

    Ten calls in one step are more than any part makes: a list of a few pages, a batch that is bisected.
    """
    return STUCK_AFTER + 10 * timeout / SECOND


def make_untold(config: Config, counters: Counters, clock: Clock, inbox: Inbox) -> Untold:
    """Give what finds out whether a critical alarm is open that nobody has been told of."""
    source = _JournalSource(config.settings.journal.path, inbox)
    return Untold(
        source.untold, lambda: bool(counters.stalled), unstored=lambda: counters.unstored, monotonic=clock.monotonic
    )


def make_siren(config: Config, untold: Untold, clock: Clock) -> Siren:
    """Give what runs the operator's command; without one it only looks."""
    hook = config.settings.health.hook
    command = Command(hook.command, hook.timeout, hook.repeat_every) if hook is not None else None
    return Siren(untold, command, monotonic=clock.monotonic)


def make_heartbeat(config: Config, well: Callable[[], tuple[bool, Sequence[str]]], clock: Clock) -> Heartbeat | None:
    """Give what calls the outside, None where nobody is to be called."""
    settings = config.settings.health.heartbeat
    if settings is None:
        return None
    return Heartbeat(lambda: read_secret(HEARTBEAT_URL), well, every=settings.every, monotonic=clock.monotonic)


def make_subscriber(
    config: Config, topics: Topics, inbox: Inbox, clock: Clock, before: Before, messages: TextIO | None
) -> Subscriber | PipeSubscriber:
    """Give what brings the messages. ``messages``: lines of a capture instead of a broker."""
    if messages is not None:
        return PipeSubscriber(messages, inbox, clock)
    settings = config.settings
    password = (lambda: read_secret("mqtt_password")) if has_secret("mqtt_password") else None
    return Subscriber(Access(settings.mqtt, settings.gateway, password), topics, inbox, clock, before)


def make_worker(config: Config, journal: Journal, inbox: Inbox, now: Instant) -> SmsWorker:
    """Give what sends the texts; it goes on with those that the last process had under way."""
    notifiers = config.settings.notifiers
    ways = [
        (name, NOTIFIERS[name](notifiers, lambda: read_secret("twilio_auth_token")))
        for name in dict.fromkeys(notifiers.order)
    ]
    worker = SmsWorker(ways[0][1], config, report=inbox.put, tell=inbox.put, backup=ways[1:])
    take_over(worker, journal, now)
    return worker


def take_over(worker: SmsWorker, journal: Journal, now: Instant) -> None:
    """Let a worker go on with the texts that the last process had under way."""
    for recipient_id, at, kind in journal.texts_tried_between(now - DAY, now):
        worker.remember(recipient_id, at, kind)
    for notification in journal.outbox_open():
        if notification.state in (NotificationState.ACCEPTED, NotificationState.AMBIGUOUS):
            worker.adopt(notification)


def make_mirror(config: Config, journal: Journal, inbox: Inbox, now: Instant) -> Mirror | None:
    """Give what copies the journal into InfluxDB, None where none is configured."""
    influx, cursor = config.settings.sinks.influxdb, journal.cursor("influxdb")
    with journal.batch(now) as batch:
        if influx is None:
            batch.delete_cursor("influxdb")  # pruning would wait for it for ever
            return None
        batch.save_cursor("influxdb", cursor or 0)

    def save_cursor(seq: int) -> None:
        inbox.put(Work(lambda batch: batch.save_cursor("influxdb", seq)))

    def bury(letter: DeadLetter) -> None:
        row = Quarantined(f"influxdb/{letter.seq}", letter.line.encode(), "refused", letter.detail, letter.at)
        inbox.put(Work(lambda batch: batch.quarantine([row])))

    def tell(fault: Fault) -> None:
        inbox.put(fault)

    return Mirror(
        SINKS["influxdb"](influx, lambda: read_secret("influxdb_token")),
        _JournalSource(config.settings.journal.path, inbox),
        cursor=cursor or 0,
        save_cursor=save_cursor,
        bury=bury,
        report=tell,
    )


class _JournalSource:
    """The journal as a worker sees it: a reader of its own, opened on the worker's thread."""

    def __init__(self, path: Path, inbox: Inbox) -> None:
        self._path, self._inbox = path, inbox
        self._reader: Reader | None = None

    def rows_after(self, cursor: int, limit: int) -> Sequence[tuple[int, Reading | AlarmStep]]:
        # Old rows are read here alone: the loop never meets them.
        with damage_told(self._inbox):
            return self._open().rows_after(cursor, limit)

    def untold(self) -> list[str]:
        with damage_told(self._inbox):
            return self._open().untold()

    def head(self) -> int:
        with damage_told(self._inbox):
            return self._open().head()

    def _open(self) -> Reader:
        if self._reader is None:
            self._reader = Reader.open(self._path)
        return self._reader


@contextmanager
def damage_told(inbox: Inbox) -> Iterator[None]:
    """Whoever finds the journal damaged on another thread: the loop ends for it, and has the file mended."""
    try:
        yield
    except JournalCorruptError as error:
        found = error

        def tell() -> object:
            raise found

        inbox.put(Probe(lambda _answer: None, tell))
        raise
