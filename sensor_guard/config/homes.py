"""The homes: sites, buildings, homes and their sensors, from a spreadsheet's CSV or, for a few homes, from YAML."""

import re
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from sensor_guard.config.shape import Between, Id, Strict, checked_id, did_you_mean, listed, validated
from sensor_guard.config.source import Way, read_yaml
from sensor_guard.config.table import Column, Spot, read_table
from sensor_guard.engine.plan import Sensor
from sensor_guard.errors import Problem
from sensor_guard.model import GATEWAY, KINDS, Kind, Span

OWN = "own"
ROOT = "guard"
"""First level of our own topics: ``guard/<site>/<home>/<sensor>``."""
CONVENTIONS = (OWN, "zigbee2mqtt")
"""How a device speaks; the decoders are a table with the same words."""
METERS = ("counter", "interval")
LABEL_LIMIT = 40
LABEL_ADVICE = 12
"""A longer label may make a Chinese text two parts: 70 characters are one."""

COLUMNS = (
    Column("site", ("小区",), required=True),
    Column("building", ("楼栋",)),
    Column("home", ("住户",), required=True),
    Column("label", ("地址", "称呼"), required=True),
    Column("kind", ("类型",), required=True),
    Column("sensor", ("传感器",), required=True),
    Column("topic", ("主题",)),
    Column("convention", ("协议",)),
    Column("expect_every", ("上报间隔",)),
    Column("meter", ("计量",)),
    Column("interval", ("计量间隔",)),
    Column("rules_off", ("停用规则",)),
)
KIND_WORDS: dict[str, Kind] = {
    word.lower(): row.kind for row in KINDS.values() for word in (row.kind, row.zh, row.en, *row.aliases)
}


class TopicEntry(NamedTuple):
    """Whose topic it is, and how its messages are read."""

    site_id: str
    home_id: str
    sensor_id: str
    kind: str
    convention: str


@dataclass(frozen=True, slots=True)
class HomeEntry:
    """One home. ``label`` is for people only. ``rules_off``: rules switched off here. ``spot``: where it stands."""

    home_id: str
    site_id: str
    building_id: str
    label: str
    sensors: tuple[Sensor, ...]
    rules_off: tuple[str, ...]
    spot: Spot


class Topics(Mapping[str, TopicEntry]):
    """Every topic: whose it is. Those that the files do not name are not kept, but read: they say whose they are.

    Of a hundred thousand homes they would be a third of the daemon's memory, and of its start.

    Args:
        homes: by id.
        named: the topics that the files name.
    """

    def __init__(self, homes: Mapping[str, HomeEntry], named: Mapping[str, TopicEntry]) -> None:
        self._homes = homes
        self._named = named
        self._name_of = {(entry.home_id, entry.sensor_id): topic for topic, entry in named.items()}

    def __getitem__(self, topic: str) -> TopicEntry:
        """Give whose topic it is."""
        named = self._named.get(topic)
        if named is not None:
            return named
        root, *levels = topic.split("/")
        if root == ROOT and len(levels) == 3:
            home = self._homes.get(levels[1])
            if home is not None and home.site_id == levels[0]:
                for sensor in home.sensors:
                    if sensor.sensor_id == levels[2] and (home.home_id, sensor.sensor_id) not in self._name_of:
                        return TopicEntry(home.site_id, home.home_id, sensor.sensor_id, sensor.kind, OWN)
        raise KeyError(topic)

    def __iter__(self) -> Iterator[str]:
        """Give the topics, home by home."""
        for home in self._homes.values():
            for sensor in home.sensors:
                yield self._topic_of(home, sensor.sensor_id)

    def __len__(self) -> int:
        """Count them: every sensor has one."""
        return sum(len(home.sensors) for home in self._homes.values())

    def named(self) -> Iterable[tuple[str, TopicEntry]]:
        """Give those that the files name."""
        return self._named.items()

    def of_kinds(self, kinds: Container[str]) -> Iterator[str]:
        """Give the topics of all sensors of these kinds."""
        for home in self._homes.values():
            for sensor in home.sensors:
                if sensor.kind in kinds:
                    yield self._topic_of(home, sensor.sensor_id)

    def _topic_of(self, home: HomeEntry, sensor_id: str) -> str:
        name = self._name_of.get((home.home_id, sensor_id)) if self._name_of else None
        return name or own_topic(home.site_id, home.home_id, sensor_id)


@dataclass(frozen=True, slots=True)
class Homes:
    """All homes by id, and all topics. ``warnings``: what works, and may not be meant."""

    entries: Mapping[str, HomeEntry] = field(default_factory=dict)
    topics: Topics = field(default_factory=lambda: Topics({}, {}))
    warnings: tuple[Problem, ...] = ()

    @property
    def site_ids(self) -> frozenset[str]:
        """Every site."""
        return frozenset(home.site_id for home in self.entries.values())

    @property
    def building_ids(self) -> frozenset[str]:
        """Every building; homes without one do not count."""
        return frozenset(home.building_id for home in self.entries.values() if home.building_id)


class SensorRow(Strict):
    """A sensor in a YAML file of homes, or in a test of a rule."""

    id: Id = Field(examples=["p1"])
    kind: str = Field(examples=["power"])
    topic: str = ""
    convention: str = OWN
    expect_every: str = ""
    meter: str = ""
    interval: str = ""


class _HomeRow(Strict):
    id: Id = Field(examples=["h301"])
    label: str = Field(examples=["3-301"])
    rules_off: tuple[Id, ...] = Field(default=(), strict=False)
    sensors: Annotated[list[SensorRow], Field(min_length=1)] = Field(examples=["[{id: p1, kind: power}]"])


class _BuildingRow(Strict):
    id: Id = Field(examples=["b3"])
    homes: list[_HomeRow] = Field(examples=["[{id: h301, label: 3-301, sensors: [...]}]"])


class _SiteRow(Strict):
    id: Id = Field(examples=["sunshine"])
    buildings: tuple[_BuildingRow, ...] = Field(default=(), strict=False)
    homes: tuple[_HomeRow, ...] = Field(default=(), strict=False)


class _HomesFile(Strict):
    sites: Annotated[list[_SiteRow], Field(min_length=1)] = Field(examples=["[{id: sunshine, homes: [...]}]"])


def read_homes(path: Path, problems: list[Problem]) -> Homes | None:
    """Read a .csv, .yaml or .yml of homes; None where anything is wrong, told in ``problems``."""
    builder = HomesBuilder()
    if path.suffix.lower() in {".yaml", ".yml"}:
        _read_yaml_homes(path, builder)
    elif path.suffix.lower() == ".csv":
        for row, spot in read_table(path, COLUMNS, builder.problems):
            builder.add(row, spot)
    else:
        message = "homes are read from a .csv or a .yaml file; from a spreadsheet, choose Save as, 'CSV UTF-8'"
        builder.problems.append(Problem(str(path), 0, 0, "", message))
    homes = builder.finish()
    if not builder.problems and not homes.entries:
        builder.problems.append(Problem(str(path), 0, 0, "", "lists no home; add at least one row"))
    problems.extend(builder.problems)
    return None if builder.problems else homes


def sensor_from(row: Mapping[str, str], spot: Spot, problems: list[Problem]) -> Sensor | None:
    """Make a sensor of the texts of its row; None where one is wrong, told in ``problems``."""
    sensor_id = _id("sensor", row["sensor"], spot, problems)
    like, faults = _sensor_like(row["kind"], row["expect_every"], row["meter"], row["interval"])
    problems.extend(spot.problem(column, message) for column, message in faults)
    if like is None or not sensor_id:
        return None
    return Sensor(sensor_id, like.kind, like.observed_for, like.meter, like.interval)


@lru_cache(maxsize=1024)
def _sensor_like(
    kind: str, expect_every: str, meter: str, interval: str
) -> tuple[Sensor | None, tuple[tuple[str, str], ...]]:
    """Judge what a row says of its sensor; give a sensor without id, or (column, fault) pairs."""
    faults: list[tuple[str, str]] = []
    known = KIND_WORDS.get(kind.lower())
    if known is None:
        faults.append(("kind", f"write {listed(KINDS)}, not {kind!r}{did_you_mean(kind, KIND_WORDS)}"))
    expected = _span("expect_every", expect_every, faults)
    length = _span("interval", interval, faults)
    if meter and meter not in METERS:
        faults.append(("meter", f"write {listed(METERS)}, not {meter!r}{did_you_mean(meter, METERS)}"))
    elif meter and known is not None and known not in {Kind.POWER, Kind.WATER}:
        faults.append(("meter", f"a {known} sensor is no meter; leave it empty"))
    if length is not None and meter != "interval":
        faults.append(("interval", "belongs to a meter of the kind interval; write meter: interval"))
    if known is None or faults:
        return None, tuple(faults)
    observed_for = KINDS[known].observed_for if expected is None else 2 * expected
    return Sensor("", known.value, observed_for, meter or "counter", length), ()


class HomesBuilder:
    """Puts rows together to homes, and says what does not fit together."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._homes: dict[str, HomeEntry] = {}
        self._sensors: dict[str, dict[str, tuple[Sensor, Spot]]] = {}
        self._topics: dict[str, tuple[TopicEntry, Spot]] = {}
        self._site_of_building: dict[str, tuple[str, Spot]] = {}
        self._last: tuple[str, ...] = ()
        self._last_home: HomeEntry | None = None

    def add(self, row: Mapping[str, str], spot: Spot) -> None:
        """Take in one sensor. ``row`` has every name of ``COLUMNS``."""
        about_home = tuple(row[column] for column in ("site", "building", "home", "label", "rules_off"))
        if about_home != self._last:
            # The rows of a home mostly stand together and say the same of it.
            self._last = about_home
            self._last_home = self._home(row, spot)
        sensor, home = sensor_from(row, spot, self.problems), self._last_home
        if sensor is None or home is None:
            return
        if self._add_sensor(home.home_id, sensor, spot):
            self._add_topic(row, home, sensor, spot)

    def finish(self) -> Homes:
        """Give what was taken in."""
        homes: dict[str, HomeEntry] = {}
        long_labels: list[HomeEntry] = []
        alike: dict[tuple[Sensor, ...], tuple[Sensor, ...]] = {}  # of many homes the sensors are the same
        for home_id, home in self._homes.items():
            if not home.label:
                message = f"home {home_id} has no label; the text that asks somebody to go there says where by it"
                self.problems.append(home.spot.problem("label", message))
            if len(home.label) > LABEL_ADVICE:
                long_labels.append(home)
            sensors = tuple(sensor for sensor, _ in self._sensors.get(home_id, {}).values())
            sensors = alike.setdefault(sensors, sensors)
            homes[home_id] = HomeEntry(
                home_id, home.site_id, home.building_id, home.label, sensors, home.rules_off, home.spot
            )
        named = {
            topic: entry
            for topic, (entry, _) in self._topics.items()
            if entry.convention != OWN or topic != own_topic(entry.site_id, entry.home_id, entry.sensor_id)
        }
        return Homes(homes, Topics(homes, named), _label_warning(long_labels))

    def _home(self, row: Mapping[str, str], spot: Spot) -> HomeEntry | None:
        site = _id("site", row["site"], spot, self.problems)
        building = _id("building", row["building"], spot, self.problems) if row["building"] else ""
        home_id = self._home_id(row["home"], spot)
        self._check_label(row["label"], spot)
        rules_off = self._rules_off(row, spot)
        if not site or not home_id:
            return None
        home = HomeEntry(home_id, site, building, row["label"], (), rules_off, spot)
        self._add_home(home)
        return home

    def _home_id(self, text: str, spot: Spot) -> str:
        if text == GATEWAY:
            self.problems.append(spot.problem("home", f"{GATEWAY} is the box itself; give the home another id"))
            return ""
        return _id("home", text, spot, self.problems)

    def _check_label(self, label: str, spot: Spot) -> None:
        if len(label) > LABEL_LIMIT:
            message = f"is longer than {LABEL_LIMIT} characters; write what fits into a text, such as 3-301"
            self.problems.append(spot.problem("label", message))
        if re.search(r"https?:|www\.|://", label, re.IGNORECASE):
            self.problems.append(spot.problem("label", "carriers refuse texts with an address of the web; delete it"))
        if re.search(r"[{}]", label):
            self.problems.append(spot.problem("label", "{ and } are for placeholders of messages; delete them"))

    def _rules_off(self, row: Mapping[str, str], spot: Spot) -> tuple[str, ...]:
        words = [word for word in re.split(r"[\s;,|]+", row["rules_off"]) if word]
        return tuple(word for word in words if _id("rules_off", word, spot, self.problems))

    def _add_home(self, home: HomeEntry) -> None:
        known = self._homes.get(home.home_id)
        if known is None:
            self._homes[home.home_id] = home
            self._check_building(home)
            return
        for column, here, there in (
            ("site", home.site_id, known.site_id),
            ("building", home.building_id, known.building_id),
            ("label", home.label, known.label),
        ):
            if here != there and not (column == "label" and "" in {here, there}):
                message = f"home {home.home_id} has the {column} {there!r} in {known.spot} and {here!r} here"
                self.problems.append(home.spot.problem(column, f"{message}; write the same in every row of it"))
        if home.rules_off or (home.label and not known.label):
            rules = tuple(dict.fromkeys((*known.rules_off, *home.rules_off)))
            label = known.label or home.label
            self._homes[home.home_id] = HomeEntry(
                known.home_id, known.site_id, known.building_id, label, (), rules, known.spot
            )

    def _check_building(self, home: HomeEntry) -> None:
        if not home.building_id:
            return
        site, spot = self._site_of_building.setdefault(home.building_id, (home.site_id, home.spot))
        if site != home.site_id:
            message = f"building {home.building_id} belongs to site {site} in {spot} and to {home.site_id} here"
            way_out = f"; give each an id of its own, such as {home.site_id}-{home.building_id}"
            self.problems.append(home.spot.problem("building", message + way_out))

    def _add_sensor(self, home: str, sensor: Sensor, spot: Spot) -> bool:
        sensors = self._sensors.setdefault(home, {})
        if sensor.sensor_id in sensors:
            first = sensors[sensor.sensor_id][1]
            message = f"home {home} has a sensor {sensor.sensor_id} already, in {first}; give this one another id"
            self.problems.append(spot.problem("sensor", message))
            return False
        sensors[sensor.sensor_id] = (sensor, spot)
        return True

    def _add_topic(self, row: Mapping[str, str], home: HomeEntry, sensor: Sensor, spot: Spot) -> None:
        convention = row["convention"] or OWN
        if convention not in CONVENTIONS:
            near = did_you_mean(convention, CONVENTIONS)
            self.problems.append(spot.problem("convention", f"write {listed(CONVENTIONS)}, not {convention!r}{near}"))
            return
        topic = row["topic"]
        wrong = _wrong_topic(topic) if topic else None
        if not topic and convention != OWN:
            wrong = f"missing; a {convention} device has a topic such as {convention}/its_name"
        if wrong:
            self.problems.append(spot.problem("topic", wrong))
            return
        topic = topic or own_topic(home.site_id, home.home_id, sensor.sensor_id)
        entry = TopicEntry(home.site_id, home.home_id, sensor.sensor_id, sensor.kind, sys.intern(convention))
        known = self._topics.setdefault(topic, (entry, spot))
        if known[1] is not spot:
            owner = f"{known[0].home_id}/{known[0].sensor_id}"
            message = f"{topic} is the topic of {owner} already, in {known[1]}; every sensor has a topic of its own"
            self.problems.append(spot.problem("topic", message))


def own_topic(site_id: str, home_id: str, sensor_id: str) -> str:
    """Give the topic of a sensor for which the files name none."""
    return f"{ROOT}/{site_id}/{home_id}/{sensor_id}"


def _read_yaml_homes(path: Path, builder: HomesBuilder) -> None:
    document = read_yaml(path, builder.problems)
    if document is None:
        return
    content = validated(_HomesFile, document, (), builder.problems)
    if content is None:
        return

    def add(site: str, building: str, home: _HomeRow, way: Way) -> None:
        ways = {"site": (*way[:2], "id"), "building": (*way[:4], "id"), "home": (*way, "id")}
        ways |= {"label": (*way, "label"), "rules_off": (*way, "rules_off")}
        for place, sensor in enumerate(home.sensors):
            here = (*way, "sensors", place)
            spot = Spot(document.file, document.place(here).line, {}, document, here, ways | {"sensor": (*here, "id")})
            texts = sensor.model_dump()
            row = {"site": site, "building": building, "home": home.id, "label": home.label, "sensor": texts.pop("id")}
            builder.add({**row, **texts, "rules_off": " ".join(home.rules_off)}, spot)

    for s, site in enumerate(content.sites):
        for b, building in enumerate(site.buildings):
            for h, home in enumerate(building.homes):
                add(site.id, building.id, home, ("sites", s, "buildings", b, "homes", h))
        for h, home in enumerate(site.homes):
            add(site.id, "", home, ("sites", s, "homes", h))


def _id(column: str, text: str, spot: Spot, problems: list[Problem]) -> str:
    """Check an id; give "" where it is wrong, told in ``problems``."""
    if not text:
        problems.append(spot.problem(column, "is empty; write an id"))
        return ""
    try:
        return sys.intern(checked_id(text))
    except ValueError as error:
        hint = ""
        if re.fullmatch(r"[0-9](\.[0-9]+)?[eE]\+[0-9]+", text):
            hint = "; a spreadsheet has rounded it: format the column as text and write the id again"
        problems.append(spot.problem(column, f"{error}{hint}"))
        return ""


def _span(column: str, text: str, faults: list[tuple[str, str]]) -> Span | None:
    if not text:
        return None
    try:
        return Between("10s", "7d").check(text)
    except ValueError as error:
        faults.append((column, str(error)))
        return None


def _wrong_topic(topic: str) -> str | None:
    if "+" in topic or "#" in topic:
        return f"{topic!r} contains + or #, which stand for many topics; write the topic of this one sensor"
    if topic.startswith(("$", "/")) or topic.endswith("/"):
        return f"{topic!r} starts with $ or /, or ends with /; write it as the device publishes it"
    if len(topic.encode("utf-8", "replace")) > 1_024:
        return "is longer than 1,024 bytes; no device publishes on it"
    return None


def _label_warning(homes: list[HomeEntry]) -> tuple[Problem, ...]:
    if not homes:
        return ()
    others = f" (and {len(homes) - 1} more)" if len(homes) > 1 else ""
    message = f"{homes[0].label!r}{others} is longer than {LABEL_ADVICE} characters: texts with it may need two parts"
    return (homes[0].spot.problem("label", message),)
