"""Readings a second through the whole line, acknowledged after the commit, paired with a bare paho subscriber.

    python -m benchmarks.line [--count 60000] [--rounds 3] [--homes 1000]

One mosquitto per measurement, the same messages, interleaved rounds: the ratio counts, not the figures. The messages
wait in the subscriber's session before it starts, so that the publisher costs nothing meanwhile; time runs from the
first message to the last acknowledgement. The broker's own limit is what mosquitto_sub, in C, takes of the same backlog
from its start to its end.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
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
from sensor_guard.control import DaemonAbsentError, ask
from simulators.load import load
from simulators.publish import Broker as Address
from simulators.publish import Pace, Publisher
from simulators.roster import rows_of, topic_of
from tests.e2e.daemon import Daemon
from tests.fakes.broker import Broker


def main(arguments: list[str] | None = None) -> int:
    """Measure and print a table; with --json one line for machines."""
    options = _options(arguments)
    ways = (("mosquitto_sub", _limit), ("bare paho", _bare), ("sensor_guard", drain))
    rates: dict[str, list[float]] = {name: [] for name, _ in ways}
    cpu: dict[str, list[float]] = {name: [] for name, _ in ways}
    for number in range(options.rounds):
        for name, measure in ways:
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
    ours = statistics.median(rates["sensor_guard"])
    ratios = {name: ours / statistics.median(values) for name, values in rates.items() if name != "sensor_guard"}
    print("whole line / " + ", / ".join(f"{name}: {ratio:.2f}" for name, ratio in ratios.items()))
    if options.json:
        costs = {name: round(statistics.median(values), 1) for name, values in cpu.items()}
        speeds = {name: round(statistics.median(values)) for name, values in rates.items()}
        print(json.dumps({"rates": speeds, "cpu_per_million": costs, "ratios": ratios}))
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.line", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--homes", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


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


def _limit(count: int, homes: int) -> tuple[float, float]:
    """Let the broker's own subscriber take the backlog and throw it away."""
    with Broker("allow_anonymous true", "max_queued_bytes 0") as broker:
        words = [
            "mosquitto_sub", "-p", str(broker.port), "-V", "mqttv5", "-i", "limit", "-c", "-x", "3600", "-q", "1",
            "-t", "guard/#", "-D", "CONNECT", "receive-maximum", "500",
        ]  # fmt: skip
        subprocess.run([*words, "-E"], check=True, timeout=30)
        _fill(broker.port, count, homes)
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([*words, "-C", str(count)], check=True, timeout=300, stdout=subprocess.DEVNULL)
        ended, after = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended - began, _cpu(after) - _cpu(before)


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
    """Wait until so many messages are committed; the time, and the daemon's CPU seconds.

    To ask is work for the daemon, so it is done five times a second and no more; count enough messages for that.
    """
    assert daemon.process is not None
    pause = threading.Event()
    for _ in range(6_000):
        try:
            if holds(ask(daemon.socket, {"verb": "status"})["messages"]):
                return time.perf_counter(), _cpu_of(daemon.process.pid)
        except DaemonAbsentError:
            pass
        pause.wait(0.2)
    raise SystemExit(f"the daemon did not get there:\n{daemon.log()[-2000:]}")


def _cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
