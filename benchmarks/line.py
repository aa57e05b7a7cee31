"""Readings a second through the whole line, acknowledged after the commit, paired with a bare paho subscriber.

    python -m benchmarks.line [--count 20000] [--rounds 3] [--homes 1000]

One mosquitto per measurement, the same messages, interleaved rounds: the ratio counts, not the figures. The messages
wait in the subscriber's session before it starts, so that the publisher costs nothing meanwhile; time runs from the
first message to the last acknowledgement. Then the engine alone: virtual days a second for the same homes.
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from sensor_guard.clock import SystemClock
from sensor_guard.config import plan_for_unknown_homes
from sensor_guard.control import DaemonAbsentError, ask
from sensor_guard.replay import Replay
from simulators.homes import Home, live
from simulators.load import load
from simulators.publish import Broker as Address
from simulators.publish import Pace, Publisher
from simulators.roster import rows_of, topic_of
from tests.e2e.daemon import Daemon
from tests.fakes.broker import Broker

DAY = 86_400_000


def main() -> int:
    """Measure and print a table."""
    options = _options()
    rates: dict[str, list[float]] = {"bare paho": [], "sensor_guard": []}
    cpu: dict[str, list[float]] = {"bare paho": [], "sensor_guard": []}
    for number in range(options.rounds):
        for name, measure in (("bare paho", _bare), ("sensor_guard", drain)):
            print(f"round {number + 1} of {options.rounds}: {name} ...", file=sys.stderr, flush=True)
            seconds, cpu_seconds = measure(options.count, options.homes)
            rates[name].append(options.count / seconds)
            cpu[name].append(cpu_seconds * 1e6 / options.count)
    print(f"{options.count} readings of {options.homes} homes, QoS 1, MQTT 5, {os.cpu_count()} cores,", end=" ")
    print(f"{options.rounds} rounds")
    print(f"{'':14}{'readings/s, median [min-max]':>34}{'CPU-s per million':>20}")
    for name, values in rates.items():
        spread = f"{statistics.median(values):,.0f} [{min(values):,.0f}-{max(values):,.0f}]"
        print(f"{name:14}{spread:>34}{statistics.median(cpu[name]):>20.0f}")
    ratio = statistics.median(rates["sensor_guard"]) / statistics.median(rates["bare paho"])
    print(f"whole line / bare paho: {ratio:.2f}")
    _replay(options.homes, options.days)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.line", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--homes", type=int, default=1_000)
    parser.add_argument("--days", type=float, default=0.25, help="virtual days of the replay")
    return parser.parse_args()


def _names(homes: int) -> list[str]:
    return [f"home-{number:04}" for number in range(1, homes + 1)]


def _fill(port: int, count: int, homes: int) -> None:
    """Publish what will wait in the session."""
    clock = SystemClock()
    publisher = Publisher(
        Address(port=port, client_id="load"), lambda home, sensor: topic_of("demo", home, sensor), clock=clock
    )
    tally = publisher.run(load(_names(homes), count, clock), Pace.FLAT)
    if not tally.is_complete:
        raise SystemExit(f"the broker did not take everything: {tally}")


def _bare(count: int, homes: int) -> tuple[float, float]:
    """Subscribe with paho as it is, QoS 1, manual acknowledgement in the callback, nothing else."""
    with Broker("allow_anonymous true", "max_queued_bytes 0") as broker:
        first = _bare_client("bare")
        first.connect("127.0.0.1", broker.port, clean_start=True, properties=_expiry())
        subscribed = threading.Event()
        first.on_subscribe = lambda *_: subscribed.set()
        first.on_connect = lambda client, *_: client.subscribe("guard/#", qos=1)
        first.loop_start()
        subscribed.wait(10)
        first.disconnect()
        first.loop_stop()
        _fill(broker.port, count, homes)
        done, state = threading.Event(), {"count": 0, "first": 0.0, "last": 0.0}
        client = _bare_client("bare")

        def take(client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
            if not state["count"]:
                state["first"] = time.perf_counter()
            state["count"] += 1
            client.ack(message.mid, message.qos)
            if state["count"] >= count:
                state["last"] = time.perf_counter()
                done.set()

        client.on_message = take
        before = resource.getrusage(resource.RUSAGE_SELF)
        client.connect("127.0.0.1", broker.port, clean_start=False, properties=_expiry())
        client.loop_start()
        if not done.wait(120):
            raise SystemExit(f"bare paho got {state['count']} of {count}")
        after = resource.getrusage(resource.RUSAGE_SELF)
        client.disconnect()
        client.loop_stop()
    return state["last"] - state["first"], _cpu(after) - _cpu(before)


def _bare_client(name: str) -> paho.Client:
    return paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5, manual_ack=True)


def _expiry() -> Properties:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3_600
    properties.ReceiveMaximum = 500
    return properties


def drain(count: int, homes: int, *, environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Run the daemon: decode, journal with fsync, rules, outbox, then the acknowledgement; seconds and CPU seconds."""
    with Broker("allow_anonymous true", "max_queued_bytes 0") as broker, tempfile.TemporaryDirectory() as name:
        rows = [row for home_id in _names(homes) for row in rows_of(home_id, site="demo")]
        daemon = Daemon(Path(name), rows, mqtt_port=broker.port, environment=environment)
        daemon.start()
        daemon.stop()
        _fill(broker.port, count, homes)
        daemon.start(connected=False)
        assert daemon.process is not None
        started, before = _when(daemon, lambda got: got > 0)
        ended, after = _when(daemon, lambda got: got >= count)
        daemon.stop()
    return ended - started, after - before


def _when(daemon: Daemon, holds: Callable[[int], bool]) -> tuple[float, float]:
    """Wait until so many messages are committed; the time, and the daemon's CPU seconds."""
    assert daemon.process is not None
    pause = threading.Event()
    for _ in range(60_000):
        try:
            if holds(ask(daemon.socket, {"verb": "status"})["messages"]):
                return time.perf_counter(), _cpu_of(daemon.process.pid)
        except DaemonAbsentError:
            pass
        pause.wait(0.02)
    raise SystemExit(f"the daemon did not get there:\n{daemon.log()[-2000:]}")


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _replay(homes: int, days: float) -> None:
    """The engine alone, on simulated residents."""
    start = 1_772_323_200_000
    residents = [Home(name) for name in _names(homes)]
    readings = list(live(residents, start, start + round(days * DAY)))
    plan = plan_for_unknown_homes({(r.home_id, r.sensor_id, r.quantity) for r in readings})
    begun = time.perf_counter()
    outcome = Replay(plan, lambda _transition, _alarm: None).run(readings)
    seconds = time.perf_counter() - begun
    print(
        f"replay without the store: {homes} homes, {outcome.readings:,} readings of {days:g} virtual days in"
        f" {seconds:.1f} s: {outcome.readings / seconds:,.0f} readings/s, {days / seconds:.3f} virtual days/s"
        f" at {outcome.readings / homes / days:.0f} readings a home and day"
    )


if __name__ == "__main__":
    sys.exit(main())
