"""From the press of a panic button to the provider's POST: beside other readings, and while a backlog drains.

    python -m benchmarks.panic [--panics 200] [--rate 500] [--backlog 500000] [--homes 1000]

The time begins before the button's PUBLISH is written to its socket and ends when the request has come in at a strict
stand-in for the provider: two broker hops, the commit of the alarm and its text, the lease, the POST over loopback. One
press every 1.1 s, because a sender may send one text a second. The load comes from a process of its own.
"""

import argparse
import json
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from sensor_guard.clock import SystemClock, format_at
from simulators.roster import rows_of, topic_of
from tests.e2e.daemon import Daemon
from tests.fakes.broker import Broker
from tests.fakes.twilio import ACCOUNT_SID, AUTH_TOKEN, SENDER, FakeTwilio

PRESS_EVERY = 1.1
WAIT_AT_MOST = 60.0
NOTIFIERS = (
    f'notifiers: {{order: [twilio], twilio: {{account_sid: "{ACCOUNT_SID}", from: "{SENDER}", base_url: "%s"}}}}'
)


class Provider(FakeTwilio):
    """Notes when each POST came in."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: queue.SimpleQueue[float] = queue.SimpleQueue()
        self.choose = self._note

    def _note(self, request):
        if request.method == "POST":
            self.arrivals.put(time.perf_counter())


class Button:
    """Presses, one home after the other."""

    def __init__(self, port: int, home_ids: list[str]) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="button")
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._homes = iter(home_ids)
        self._clock = SystemClock()

    def press(self) -> float:
        payload = json.dumps({"panic": 1, "ts": format_at(self._clock.now()), "seq": 1})
        began = time.perf_counter()
        self._client.publish(topic_of("demo", next(self._homes), "panic"), payload, qos=1)
        return began

    def end(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; with --json one line for machines."""
    options = _options(arguments)
    beside = _beside(options)
    _say("beside other readings", f"{options.rate} readings/s", beside)
    draining = _draining(options) if options.backlog else []
    if draining:
        _say("while a backlog drains", f"{options.backlog:,} queued readings", draining)
    if options.json:
        print(json.dumps({"beside_ms": _figures(beside), "draining_ms": _figures(draining) if draining else None}))
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.panic", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--panics", type=int, default=200)
    parser.add_argument("--rate", type=int, default=500, help="other readings a second")
    parser.add_argument("--backlog", type=int, default=500_000, help="readings that wait in the broker; 0: leave out")
    parser.add_argument("--homes", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


@contextmanager
def _box(homes: int) -> Iterator[tuple[Broker, Provider, Daemon, list[str]]]:
    """A broker, a provider, a daemon (not yet started) that tells one worker of each home."""
    home_ids = [f"home-{number:0{max(len(str(homes)), 3)}d}" for number in range(1, homes + 1)]
    rows = [row for home_id in home_ids for row in rows_of(home_id, site="demo")]
    with (
        Broker("allow_anonymous true", "max_queued_bytes 0") as broker,
        Provider() as provider,
        tempfile.TemporaryDirectory() as name,
    ):
        daemon = Daemon(
            Path(name),
            rows,
            mqtt_port=broker.port,
            more=NOTIFIERS % provider.url,
            environment={"SENSOR_GUARD_TWILIO_AUTH_TOKEN": AUTH_TOKEN},
        )
        # One worker a home: a person's day has room for sixty texts.
        config = daemon.config.read_text(encoding="utf-8").replace("to: [worker, family]", "to: [family]", 1)
        daemon.config.write_text(config, encoding="utf-8")
        try:
            yield broker, provider, daemon, home_ids
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.stop()


def _load(port: int, homes: int, count: int, rate: int) -> list[str]:
    return [
        sys.executable, "-m", "simulators", "publish", "--count", str(count), "--homes", str(homes),
        "--rate", str(rate), "--port", str(port), "--quiet", "--client-id", "load",
    ]  # fmt: skip


def _beside(options: argparse.Namespace) -> list[float]:
    with _box(options.homes) as (broker, provider, daemon, home_ids):
        daemon.start()
        count = round(options.rate * (options.panics + 10) * (PRESS_EVERY + 0.2))
        load = subprocess.Popen(_load(broker.port, options.homes, count, options.rate), stdout=subprocess.DEVNULL)
        try:
            daemon.until(lambda: daemon.status()["messages"] > options.rate)
            return _press(broker, provider, home_ids, options.panics)
        finally:
            load.kill()
            load.wait()


def _draining(options: argparse.Namespace) -> list[float]:
    with _box(options.homes) as (broker, provider, daemon, home_ids):
        daemon.start()
        daemon.stop()
        print(f"filling the broker with {options.backlog:,} readings ...", file=sys.stderr, flush=True)
        subprocess.run(
            _load(broker.port, options.homes, options.backlog, 0), check=True, stdout=subprocess.DEVNULL, timeout=900
        )
        daemon.start(connected=False)
        daemon.until(lambda: daemon.status().get("messages", 0) > 1_000)
        latencies: list[float] = []
        button = Button(broker.port, home_ids)
        try:
            while len(latencies) < options.panics and daemon.status()["messages"] < options.backlog - 2_000:
                latencies.append(_one(button, provider))
        finally:
            button.end()
        return latencies


def _press(broker: Broker, provider: Provider, home_ids: list[str], count: int) -> list[float]:
    button = Button(broker.port, home_ids)
    try:
        return [_one(button, provider) for _ in range(count)]
    finally:
        button.end()


def _one(button: Button, provider: Provider) -> float:
    """Press once and wait for the POST; ms. Then let the sender's pace recover."""
    began = button.press()
    arrived = provider.arrivals.get(timeout=WAIT_AT_MOST)
    threading.Event().wait(max(0.0, PRESS_EVERY - (time.perf_counter() - began)))
    assert provider.arrivals.empty(), "one press, one text"
    return (arrived - began) * 1_000


def _figures(latencies: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(latencies, n=100, method="inclusive") if len(latencies) > 1 else latencies * 99
    return {
        "count": len(latencies),
        "p50": round(cuts[49], 2),
        "p99": round(cuts[98], 2),
        "max": round(max(latencies), 2),
    }


def _say(what: str, load: str, latencies: list[float]) -> None:
    figures = _figures(latencies)
    print(
        f"panic to POST {what} ({load}): {figures['count']} presses, p50 {figures['p50']:.1f} ms,"
        f" p99 {figures['p99']:.1f} ms, max {figures['max']:.1f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
