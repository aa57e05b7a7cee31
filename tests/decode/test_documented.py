"""docs/payloads.md says what is true: its examples are read, its reasons are the program's."""

import re
from pathlib import Path

from sensor_guard.config.homes import read_homes
from sensor_guard.decode import Router
from sensor_guard.model import KINDS, Quantity, RejectReason
from tests.decode.messages import message, values

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "payloads.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"mosquitto_pub -q 1 -t (\S+) -m '(\{.*?\})'", PAGE)


def test_every_example_is_read_with_the_example_homes():
    problems = []
    homes = read_homes(ROOT / "docs" / "examples" / "homes.csv", problems)
    assert not problems
    router = Router(homes.topics)
    said = set()
    for topic, payload in EXAMPLES:
        answer = values(router.route(message(payload.encode(), topic=topic)))
        assert not isinstance(answer, str), (topic, payload, answer)
        said |= {quantity for quantity, _ in answer}
    assert said == {quantity.value for row in KINDS.values() for quantity in row.quantities} | {Quantity.BATTERY_PCT}


def test_every_reason_is_explained():
    explained = set(re.findall(r"^\| `(\w+)` \| (?:is|has|names|met)", PAGE, re.MULTILINE))
    # A time that cannot be is no reason to refuse a message.
    assert explained == set(RejectReason) - {RejectReason.BAD_TIME}
