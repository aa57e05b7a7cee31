"""What the engine costs: readings a second in replay and with the store, memory a home, timers, and a restart.

    python -m benchmarks.replay [--homes 1000] [--days 0.25] [--many 100000] [--json]

The readings are those of simulated residents. Seconds are seconds of CPU of this process, so that a busy machine tells
nearly the same; the rate of a quiet one is the same number. ``--many``: homes of the figures for memory, timers and
restore (0 leaves them out); they have one sensor of each kind, all shipped rules, and two words of each sensor.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sensor_guard.clock import format_at
from sensor_guard.config import FAULT_RULES, TopicEntry, load_rules, plan_for_unknown_homes, shipped_rules_directory
from sensor_guard.core import Core
from sensor_guard.decode import Router
from sensor_guard.engine import snapshot
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.plan import HomePlan, Plan
from sensor_guard.journal import Journal
from sensor_guard.memory import collect_rarely
from sensor_guard.model import DAY, DEVICE_TIME, GATEWAY, Input, Message, PlanChanged, Reading
from sensor_guard.recording import Tally, read_recording
from sensor_guard.replay import Replay
from sensor_guard.testing import START, default_ladders, one_sensor_of_each_kind
from simulators.homes import SENSORS, Home, live
from simulators.publish import payload_of
from simulators.roster import topic_of

BATCH = 10_000
VALUES = {"power": ("power_w", 3.0), "water": ("flow_l_min", 0.0), "motion": ("motion", 1.0),
          "door": ("door_open", 0.0), "smoke": ("smoke", 0.0), "panic": ("panic", 0.0)}  # fmt: skip
Figures = dict[str, float]


def main() -> int:
    options = _options()
    figures: Figures = {"homes": options.homes, "days": options.days, "many": options.many}
    names = [f"home-{number:05}" for number in range(options.homes)]
    end = START + round(options.days * DAY)
    readings = [r._replace(quantity=str(r.quantity)) for r in live(map(Home, names), START, end)]
    figures["readings"] = len(readings)
    plan = plan_for_unknown_homes({(r.home_id, r.sensor_id, r.quantity) for r in readings})
    collect_rarely()  # as the daemon and the verb do
    _without_store(figures, plan, readings, options.days)
    _from_file(figures, readings[:200_000])
    _with_store(figures, plan, readings, options.days)
    if options.many:
        _many(figures, options.many)
    for name, value in figures.items():
        print(f"{name:36}{value:>16,.3f}".rstrip("0").rstrip("."))
    if options.json:
        print(json.dumps(figures))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--homes", type=int, default=1_000)
    parser.add_argument("--days", type=float, default=0.25, help="virtual days")
    parser.add_argument("--many", type=int, default=100_000, help="homes for memory, timers and restore")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _rate(figures: Figures, name: str, begun: float, count: int, days: float | None = None) -> None:
    seconds = time.process_time() - begun
    figures[f"{name}: readings/s"] = round(count / seconds)
    if days is not None:
        figures[f"{name}: virtual days/s"] = round(days / seconds, 3)


def _without_store(figures: Figures, plan: Plan, readings: list[Reading], days: float) -> None:
    begun = time.process_time()
    outcome = Replay(plan, lambda _transition, _alarm: None).run(readings)
    _rate(figures, "without store", begun, outcome.readings, days)


def _from_file(figures: Figures, readings: list[Reading]) -> None:
    """The replay verb reads a file twice; this is once."""
    with tempfile.TemporaryDirectory() as name:
        rows = [(format_at(r.received_at), r.home_id, r.sensor_id, r.quantity, r.value) for r in readings]
        columns = ("at", "home_id", "sensor_id", "quantity", "value")
        table, lines = Path(name, "r.csv"), Path(name, "r.jsonl")
        table.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]))
        lines.write_text("\n".join(json.dumps(dict(zip(columns, row, strict=True))) for row in rows))
        for path in (table, lines):
            begun = time.process_time()
            count = sum(1 for _ in read_recording(path, Tally()))
            _rate(figures, f"read {path.suffix}", begun, count)


def _with_store(figures: Figures, plan: Plan, readings: list[Reading], days: float) -> None:
    """Decode, journal with fsync, rules, outbox, checkpoints: a turn of the loop for every ten thousand messages."""
    kinds = {sensor.sensor_id: sensor.kind for sensor in SENSORS}
    topics = {
        topic_of("s", home_id, sensor_id): TopicEntry("s", home_id, sensor_id, kinds[sensor_id], "own")
        for home_id, sensor_id in {(r.home_id, r.sensor_id) for r in readings}
    }
    messages = [
        Message(topic_of("s", r.home_id, r.sensor_id), payload_of(r), 1, False, False, place, 0, r.received_at)
        for place, r in enumerate(readings)
    ]
    with tempfile.TemporaryDirectory() as name, Journal.open(Path(name, "journal.db")) as journal:
        core = Core(journal, plan, Router(topics))
        core.restore(START)
        begun = time.process_time()
        for start in range(0, len(messages), BATCH):
            batch = messages[start : start + BATCH]
            core.commit(core.turn(batch, batch[-1].received_at))
        _rate(figures, "with store", begun, len(messages), days)


def _many(figures: Figures, homes: int) -> None:
    plan = _wide_plan(homes)
    gc.collect()
    tracemalloc.start()
    engine = _live(plan)
    gc.collect()
    figures["bytes a home in the engine"] = round(tracemalloc.get_traced_memory()[0] / homes)
    tracemalloc.stop()
    del engine
    engine = _live(plan)
    at, seq = engine.now + 60_000, 1 << 40
    again = [Reading(home.home_id, "motion", "motion", 1.0, at, at, -1, DEVICE_TIME) for home in plan.homes[:-1]]
    begun = time.process_time()
    engine.feed(list(enumerate(again, start=seq)), at)
    engine.feed([], at + plan.lateness)
    figures["timer re-armed in us"] = round((time.process_time() - begun) / homes * 1e6, 2)
    begun = time.process_time()
    rows = {home_id: json.dumps(snapshot.save_home(home)) for home_id, home in engine.homes.items()}
    figures["save in s"] = round(time.process_time() - begun, 2)
    figures["bytes a row"] = round(sum(map(len, rows.values())) / len(rows))
    link = snapshot.save_link(engine)
    del engine, again
    gc.collect()
    begun = time.process_time()
    restored = Engine(lambda _hash: plan)
    snapshot.restore(restored, link, {home_id: (1, json.loads(row)) for home_id, row in rows.items()})
    figures["restore in s"] = round(time.process_time() - begun, 2)


def _wide_plan(homes: int) -> Plan:
    rules = (*load_rules([shipped_rules_directory()]).rules, *FAULT_RULES)
    sensors, ladders = tuple(one_sensor_of_each_kind()), default_ladders()
    wide = [HomePlan(f"home{number:06}", "site", "b", sensors, ladders) for number in range(homes)]
    return Plan(rules, (*wide, HomePlan(GATEWAY, "", "", (), ladders)))


def _live(plan: Plan) -> Engine:
    """Let every sensor speak twice."""
    engine = Engine(lambda _hash: plan)
    engine.feed([(1, PlanChanged("wide", START))], START)
    for inputs in _batches(enumerate(_words(plan), start=2)):
        engine.feed(inputs, START + 120_000)
    engine.feed([], START + 180_000)
    return engine


def _words(plan: Plan) -> Iterator[Reading]:
    for word in range(2):
        for place, home in enumerate(plan.homes[:-1]):
            at = START + word * 60_000 + place % 50_000
            for sensor in home.sensors:
                quantity, value = VALUES[sensor.kind]
                yield Reading(home.home_id, sensor.sensor_id, quantity, value, at, at, word, DEVICE_TIME)


def _batches(numbered: Iterable[tuple[int, Reading]]) -> Iterator[Sequence[tuple[int, Input]]]:
    batch: list[tuple[int, Input]] = []
    for item in numbered:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch


if __name__ == "__main__":
    sys.exit(main())
