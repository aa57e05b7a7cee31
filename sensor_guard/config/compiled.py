"""A checked configuration as lines of JSON that are read back in a fraction of the time that checking takes.

config.yaml itself is not in it (it is small, and read anew), nor are the tests beside the rules and the places of
values in their files: those are for whoever writes the files. JSON, because whoever could change these lines must not
get more by it than wrong alarms; and in pieces, because one call of the parser holds up every other thread.
"""

import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from sensor_guard.config.canonical import FORM, rule_from_row, rule_row, zone_of
from sensor_guard.config.contacts import Contact, Contacts, Role
from sensor_guard.config.homes import HomeEntry, Homes, TopicEntry, Topics
from sensor_guard.config.table import Spot
from sensor_guard.config.whole import Config
from sensor_guard.engine.plan import HomePlan, Ladder, Plan, Rule, Sensor, Step
from sensor_guard.errors import Problem

HOMES_PER_LINE = 200
"""About 20 kB: some 2 ms for the parser."""

# Any: JSON between two functions that are each other's inverse; a file that is damaged is not read at all (last_good).
Row = Any


def write_compiled(config: Config) -> Iterator[str]:
    """Give the lines: first what there is once, then the homes."""
    plan = config.plan
    plans = {home.home_id: home for home in plan.homes}
    *_, gateway = plan.homes
    sensors: dict[Sensor, int] = {}
    ladders: dict[tuple[tuple[str, Ladder], ...], int] = {}
    other_topics: dict[str, list[Row]] = {}
    for topic, entry in config.homes.topics.named():
        other_topics.setdefault(entry.home_id, []).append([entry.sensor_id, topic, entry.convention])
    homes = [
        [
            home.home_id,
            home.site_id,
            home.building_id,
            home.label,
            [sensors.setdefault(sensor, len(sensors)) for sensor in home.sensors],
            ladders.setdefault(plans[home.home_id].ladders, len(ladders)),
            list(home.rules_off),
            other_topics.get(home.home_id, []),
        ]
        for home in config.homes.entries.values()
    ]
    gateway_ladders = ladders.setdefault(gateway.ladders, len(ladders))
    head = {
        "form": FORM,
        "lateness": plan.lateness,
        "zone": plan.zone_name,
        "rules": [rule_row(rule) for rule in plan.rules],
        "own_rules": len(config.book.rules),
        "contacts": [
            [who.contact_id, who.name, who.phone, who.language, who.role, who.covers]
            for who in config.contacts.entries.values()
        ],
        "sensors": [[s.sensor_id, s.kind, s.observed_for, s.meter, s.interval] for s in sensors],
        "ladders": [[[name, *_ladder_row(ladder)] for name, ladder in named] for named in ladders],
        "gateway": [gateway.home_id, gateway_ladders],
        "warnings": [[w.file, w.line, w.column, w.where, w.message] for w in config.warnings],
        "homes": len(homes),
    }
    yield json.dumps(head, ensure_ascii=False, separators=(",", ":"))
    for start in range(0, len(homes), HOMES_PER_LINE):
        some = homes[start : start + HOMES_PER_LINE]
        yield json.dumps(some, ensure_ascii=False, separators=(",", ":"))


def read_compiled(
    lines: Iterable[str], finish: Callable[[Homes, Contacts, tuple[Rule, ...], Plan, tuple[Problem, ...]], Config]
) -> Generator[None, None, Config]:
    """Read the lines back, a piece for each step of the generator; ``finish`` makes the whole of the parts.

    Raises:
        ValueError: the lines are not all there, or of another version (also KeyError, TypeError, LookupError).
    """
    numbered = iter(lines)
    head: Row = json.loads(next(numbered))
    if head["form"] != FORM:
        raise ValueError(f"form {head['form']}, not {FORM}")
    sensors = [Sensor(*_interned(row)) for row in head["sensors"]]
    ladders = [tuple(_ladder(row) for row in named) for named in head["ladders"]]
    spot = Spot("", 0, {})
    entries: dict[str, HomeEntry] = {}
    named_topics: dict[str, TopicEntry] = {}
    alike: dict[tuple[int, ...], tuple[Sensor, ...]] = {}  # of many homes the sensors are the same
    home_plans: list[HomePlan] = []
    for line in numbered:
        for row in json.loads(line):
            home_id, site, building, label, numbers, named, off, other = row
            home_id, site, building = sys.intern(home_id), sys.intern(site), sys.intern(building)
            which, rules_off = tuple(numbers), tuple(off)
            own = alike.get(which)
            if own is None:
                own = alike[which] = tuple([sensors[number] for number in which])
            entries[home_id] = HomeEntry(home_id, site, building, label, own, rules_off, spot)
            home_plans.append(HomePlan(home_id, site, building, own, ladders[named], rules_off))
            for sensor_id, topic, convention in other:
                (sensor,) = [sensor for sensor in own if sensor.sensor_id == sensor_id]
                entry = TopicEntry(site, home_id, sensor.sensor_id, sensor.kind, sys.intern(convention))
                named_topics[topic] = entry
        yield
    if len(entries) != head["homes"]:
        raise ValueError(f"{len(entries)} of {head['homes']} homes")
    gateway_id, named = head["gateway"]
    home_plans.append(HomePlan(gateway_id, "", "", (), ladders[named]))
    rules = tuple(rule_from_row(row) for row in head["rules"])
    plan = Plan(rules, tuple(home_plans), head["lateness"], zone_of(head["zone"]), head["zone"])
    contacts = {
        row[0]: Contact(row[0], row[1], row[2], row[3], Role(row[4]), tuple(map(tuple, row[5])), spot)
        for row in head["contacts"]
    }
    warnings = tuple(Problem(*row) for row in head["warnings"])
    return finish(
        Homes(entries, Topics(entries, named_topics)), Contacts(contacts), rules[: head["own_rules"]], plan, warnings
    )


def _ladder_row(ladder: Ladder) -> list[object]:
    steps = [[step.after, list(step.recipient_ids)] for step in ladder.steps]
    return [steps, ladder.repeat_every, ladder.remind_unclosed]


def _ladder(row: Row) -> tuple[str, Ladder]:
    name, steps, repeat_every, remind_unclosed = row
    told = tuple(Step(after, tuple(people)) for after, people in steps)
    return sys.intern(name), Ladder(told, repeat_every, remind_unclosed)


def _interned(row: list[Row]) -> list[Row]:
    return [sys.intern(value) if isinstance(value, str) else value for value in row]
