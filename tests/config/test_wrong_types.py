"""A value of the wrong kind at every key of every YAML file: told at that key, and nothing falls over."""

import copy
import json

import pytest

from sensor_guard.errors import ConfigError

SPAN, WORD = "1h", "word"
FULL = {
    "config.yaml": {
        "gateway": "box1",
        "timezone": "Asia/Shanghai",
        "language": "zh",
        "homes": "homes.csv",
        "contacts": "contacts.yaml",
        "rules": "rules/",
        "lateness": "5s",
        "mqtt": {
            "host": "127.0.0.1",
            "port": 1883,
            "username": WORD,
            "protocol": 5,
            "keepalive": "30s",
            "session_expiry": "14d",
            "receive_maximum": 500,
            "tls": {"ca": "contacts.yaml", "cert": "contacts.yaml", "key": "contacts.yaml"},
        },
        "journal": {"path": "journal.db", "keep_readings": "90d", "keep_alarms": "730d"},
        "sinks": {"influxdb": {"url": "http://127.0.0.1:8086", "bucket": WORD, "org": WORD, "timeout": "10s"}},
        "notifiers": {
            "order": ["console"],
            "console": {},
            "twilio": {
                "account_sid": "AC" + "0" * 32,
                "from": "+15005550006",
                "validity": "10m",
                "timeout": "15s",
                "base_url": "http://127.0.0.1:1",
            },
        },
        "ladders": {
            "welfare": {"steps": [{"to": ["worker"], "after": "0m"}], "repeat_every": SPAN, "remind_unclosed": SPAN},
            "technical": {"steps": [{"to": ["maintainer"], "after": "0m"}]},
        },
        "web": {"enabled": False},
        "health": {"host": "127.0.0.1", "port": 9464},
        "runtime": {"directory": "run"},
        "log": {"format": "json", "level": "info"},
    },
    "contacts.yaml": {
        "contacts": [
            {
                "id": "wang",
                "name": WORD,
                "phone": "+8613800000001",
                "language": "zh",
                "role": "worker",
                "covers": ["all"],
            },
            {"id": "sun", "name": WORD, "phone": "+8613800000002", "role": "maintainer"},
        ]
    },
    "rules/r.yaml": {
        "rules": [
            {
                "id": "low",
                "name": {"zh": WORD, "en": WORD},
                "when": {"kind": "power", "below": "5 W", "for": "2h", "between": "08:00-20:00"},
                "unless": {"home": "away"},
                "severity": "warning",
                "latched": True,
                "ladder": "welfare",
                "message": {"zh": "{home}", "en": "{home}"},
            }
        ],
        "tests": [
            {
                "name": WORD,
                "rule": "low",
                "given": [{"at": "0h", "power_w": 3, "every": "5m", "until": "13h"}],
                "then": [{"at": "12h", "alarms": []}],
            }
        ],
    },
}
WRONG = {
    "a block": {"x": ["y"]},
    "a list": [["y"]],
    "a number": -7.5,
    "true": True,
    "an empty text": "",
    "nothing": None,
}


def ways(value, way=()):
    if way:
        yield way
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from ways(inner, (*way, step))


def put(content, way, value):
    changed = copy.deepcopy(content)
    here = changed
    for step in way[:-1]:
        here = here[step]
    here[way[-1]] = value
    return changed


def write(folder, name, content):
    folder.write(name, json.dumps(content, indent=1, ensure_ascii=False))


@pytest.fixture
def full(folder):
    for name, content in FULL.items():
        write(folder, name, content)
    return folder


def test_the_full_configuration_itself_is_right(full):
    assert full.problems() == []


CASES = [(name, way) for name, content in FULL.items() for way in ways(content)]


@pytest.mark.parametrize(
    ("name", "way"), CASES, ids=lambda part: part if isinstance(part, str) else ".".join(map(str, part))
)
def test_a_value_of_the_wrong_kind_is_told_at_its_key_or_is_one_that_may_stand_there(full, name, way):
    """At each key every kind of wrong value; what is taken must be a value that the key can have."""
    taken = []
    for what, value in WRONG.items():
        write(full, name, put(FULL[name], way, value))
        problems = problems_of(full)
        if not problems:
            taken.append(what)
            continue
        here = ".".join(map(str, way))
        told = [problem for problem in problems if problem.file == name]
        assert told, (what, [str(problem) for problem in problems])
        assert all(problem.line > 0 and problem.column > 0 and len(problem.message) > 10 for problem in told)
        near = [p for p in told if p.where.startswith(here) or here.startswith(p.where)]
        assert near, (what, [str(problem) for problem in told])

    assert len(taken) <= 3, taken


def problems_of(folder):
    try:
        folder.load()
    except ConfigError as error:
        return error.problems
    return []


def test_there_are_enough_of_them():
    assert len(CASES) * len(WRONG) >= 500
