"""Whether the daemon is well: counters, /metrics and /healthz on loopback, and word to systemd.

Metrics hold ids of rules and reasons only; never a home, a person or a number.
"""

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, cast

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Counters:
    """What the engine's thread has done since the start. Written by one thread, read by any."""

    messages: int = 0
    readings: int = 0
    duplicates: int = 0
    device_gaps: int = 0
    batches: int = 0
    commands: int = 0
    raised: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    notifications: dict[str, int] = field(default_factory=dict)
    commit_ms_max: float = 0.0
    stalled: str = ""  # why the disk takes nothing now: JournalUnavailableError.reason
    unstored: tuple[str, ...] = ()  # critical alarms that the disk has not taken and that nobody has been told of
    readings_held: bool = False  # the disk is full: readings stay with the broker
    differences: int = 0  # between what the last start made of the journal's tail and what stood there
    damaged: str = ""  # the damaged journal that was set aside at the start, "" where it was sound
    loop_at: float = 0.0  # Clock.monotonic() of the loop's last turn


def count(table: dict[str, int], word: str, by: int = 1) -> None:
    """Add to a counter that is made when it is first needed. The words are enums, so the table is bounded."""
    table[word] = table.get(word, 0) + by


class GuardCollector(Collector):
    """Turns the counters, and gauges asked for at the moment of scraping, into Prometheus families."""

    def __init__(self, counters: Counters, gauges: Callable[[], dict[str, float]]) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Give the families, as prometheus-client wants them."""
        counters = self._counters
        for name, text in (
            ("messages", "MQTT messages taken from the broker"),
            ("readings", "readings stored"),
            ("duplicates", "redelivered readings that were already stored"),
            ("device_gaps", "numbers that a device has counted and that never came"),
            ("batches", "transactions committed"),
            ("commands", "commands of people carried out"),
        ):
            yield CounterMetricFamily(f"sensor_guard_{name}", text, value=getattr(counters, name))
        for name, label, table in (
            ("alarms_raised", "rule", counters.raised),
            ("quarantined", "reason", counters.quarantined),
            ("notifications", "state", counters.notifications),
        ):
            family = CounterMetricFamily(f"sensor_guard_{name}", name.replace("_", " "), labels=[label])
            for word, value in sorted(table.copy().items()):
                family.add_metric([word], value)
            yield family
        yield GaugeMetricFamily(
            "sensor_guard_commit_ms_max", "slowest commit since the start, ms", value=counters.commit_ms_max
        )
        for name, number in sorted(self._gauges().items()):
            yield GaugeMetricFamily(f"sensor_guard_{name}", name.replace("_", " "), value=number)


class HealthServer(ThreadingHTTPServer):
    """/healthz and /metrics, on loopback.

    ``check()`` gives (well, details): 200 or 503 with the details as JSON.
    """

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        counters: Counters,
        gauges: Callable[[], dict[str, float]],
        check: Callable[[], tuple[bool, dict[str, Any]]],
    ) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(GuardCollector(counters, gauges))
        self.check = check
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    timeout = 10

    def do_GET(self) -> None:
        server = cast("HealthServer", self.server)
        if self.path == "/metrics":
            self._send(200, CONTENT_TYPE_LATEST, generate_latest(server.registry))
        elif self.path == "/healthz":
            well, details = server.check()
            body = json.dumps({"ok": well, **details}, ensure_ascii=False).encode() + b"\n"
            self._send(200 if well else 503, "application/json; charset=utf-8", body)
        else:
            self._send(404, "text/plain; charset=utf-8", b"/healthz or /metrics\n")

    def _send(self, status: int, kind: str, body: bytes) -> None:
        with contextlib.suppress(OSError):  # a scraper that went away needs no answer
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing: a scrape every few seconds is no event."""


def tell_systemd(address: str | None, text: str) -> None:
    """Send a word such as READY=1 or WATCHDOG=1 to the service manager; nothing happens without one.

    Args:
        address: $NOTIFY_SOCKET; a leading @ means the abstract namespace.
        text: see sd_notify(3).
    """
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out, contextlib.suppress(OSError):
        out.settimeout(1.0)  # a service manager that does not read must not hold up the loop
        out.connect("\0" + address[1:] if address.startswith("@") else address)
        out.sendall(text.encode())


STUCK_AFTER = 60.0
"""Seconds without a turn after which a loop counts as stuck, where nothing else is said of it."""


class Heartbeats:
    """When each thread's loop last turned, so that a stuck one is noticed. In seconds of Clock.monotonic()."""

    def __init__(self) -> None:
        self._beats: dict[str, float] = {}
        self._limits: dict[str, float] = {}
        self._dead: list[str] = []
        self._lock = threading.Lock()

    def allow(self, name: str, limit: float) -> None:
        """Let one turn of this loop take so long: it may wait for somebody who does not answer."""
        with self._lock:
            self._limits[name] = limit

    def died(self, name: str) -> None:
        """This thread has ended and should not have: it counts as stuck from now on."""
        with self._lock:
            self._dead.append(name)

    def beat(self, name: str, now: float) -> None:
        """This loop has turned."""
        with self._lock:
            self._beats[name] = now

    def stuck(self, now: float, limit: float = STUCK_AFTER) -> list[str]:
        """Name the loops that have not turned for ``limit`` seconds, or their own limit, and the dead ones."""
        with self._lock:
            late = [name for name, at in self._beats.items() if now - at > self._limits.get(name, limit)]
            return [*late, *(name for name in self._dead if name not in late)]


def watch_threads(beats: Heartbeats) -> None:
    """Let no thread die unseen: what ends one is logged, and the watchdog is not fed any more.

    The main thread's own end is logged likewise; then the process ends with exit code 1 and systemd starts it anew.
    """

    def thread_died(arguments: threading.ExceptHookArgs) -> None:
        name = arguments.thread.name if arguments.thread is not None else "?"
        _log_death("thread.died", name, arguments.exc_value)
        beats.died(name)

    def process_died(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        _log_death("service.died", "main", error)

    threading.excepthook = thread_died
    sys.excepthook = process_died


def _log_death(event: str, name: str, error: BaseException | None) -> None:
    log.critical(event, thread=name, exc_info=error)
