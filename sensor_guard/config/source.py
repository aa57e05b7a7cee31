"""Files as a person wrote them: YAML 1.2 to plain data, and where each value stands.

A plain scalar stays what it looks like: ``no`` and ``22:00`` and ``0123`` are text, only ``true``, ``false``,
``null`` and plain decimal numbers are more than that. Tags, merge keys and duplicate keys are refused, aliases are
counted as what they expand to.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from sensor_guard.config.syntax import Place, character_problem, place_of_offset, syntax_problem
from sensor_guard.errors import Problem

FILE_LIMIT = 8 * 1024 * 1024
"""Largest YAML file in bytes: the contacts of 50,000 homes. ruamel needs some 2 s for each MiB, once for each version
of a file; lists of homes belong in a CSV."""
DEPTH_LIMIT = 20
ALIAS_LIMIT = 10_000
"""Most values that aliases may add: an alias bomb of a few lines would fill the memory."""

Way: TypeAlias = tuple[str | int, ...]
"""The way to a value inside a document: ("rules", 0, "when", "for")."""


@dataclass(slots=True)
class Document:
    """One YAML file: its data, and where each key and value stands.

    ``plain``: the text of every scalar written without quotes, as it stands in the file.
    """

    file: str
    data: object = None
    values: dict[Way, Place] = field(default_factory=dict)
    keys: dict[Way, Place] = field(default_factory=dict)
    plain: dict[Way, str] = field(default_factory=dict)

    def place(self, way: Way, *, at_key: bool = False) -> Place:
        """Find where ``way`` stands; what is not there is looked for where its parent stands."""
        if at_key and way in self.keys:
            return self.keys[way]
        for end in range(len(way), -1, -1):
            if way[:end] in self.values:
                return self.values[way[:end]]
        return Place(1, 1)

    def problem(self, way: Way, message: str, *, at_key: bool = False) -> Problem:
        """Say what is wrong with the value (or the key) at ``way``."""
        place = self.place(way, at_key=at_key)
        return Problem(self.file, place.line, place.column, ".".join(map(str, way)), message)

    def at(self, way: Way) -> object:
        """Give the value at ``way``, None where there is none."""
        value = self.data
        for step in way:
            if isinstance(value, dict) and isinstance(step, str):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                return None
        return value


def read_yaml(path: Path, problems: list[Problem]) -> Document | None:
    """Read a file. What is wrong with it goes to ``problems``; None if nothing can be made of it."""
    text = read_text(path, problems, limit=FILE_LIMIT)
    return None if text is None else parse_yaml(str(path), text, problems)


def parse_yaml(file: str, text: str, problems: list[Problem]) -> Document | None:
    """Read the text of a YAML file; see ``read_yaml``."""
    builder = _Builder(Document(file), problems)
    # ruamel raises ReaderError for control characters before the first event, the others where they stand.
    try:
        return builder.build(_events(text))
    except _Hopeless:
        return None
    except MarkedYAMLError as error:
        problems.append(syntax_problem(file, text, error))
    except ReaderError as error:
        problems.append(character_problem(file, text, error))
    except (YAMLError, ArithmeticError, ValueError, LookupError, TypeError, AttributeError) as error:
        # ruamel lets these through for escapes that name no character ("\ud800", "\UFFFFFFFF").
        place = builder.last
        problems.append(
            Problem(file, *place, "", f"near here the file is not readable as YAML ({type(error).__name__}: {error})")
        )
    return None


def read_text(path: Path, problems: list[Problem], *, limit: int) -> str | None:
    """Read a UTF-8 file of at most ``limit`` bytes."""
    raw = read_bytes(path, problems, limit=limit)
    if raw is None:
        return None
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        problems.append(Problem(str(path), 0, 0, "", "is UTF-16; save it as UTF-8"))
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        place = place_of_offset(before, len(before))
        message = f"is not UTF-8 from here on (byte 0x{raw[error.start]:02X}); save the file with the encoding UTF-8"
        problems.append(Problem(str(path), *place, "", message))
        return None


def read_bytes(path: Path, problems: list[Problem], *, limit: int) -> bytes | None:
    """Read a file of at most ``limit`` bytes; what prevents it goes to ``problems``."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(limit + 1)
    except OSError as error:
        problems.append(Problem(str(path), 0, 0, "", why_unreadable(error)))
        return None
    if len(raw) > limit:
        message = f"is larger than {limit // 1024} KiB; keep long lists of homes in a CSV file, rules in several files"
        problems.append(Problem(str(path), 0, 0, "", message))
        return None
    return raw


def why_unreadable(error: OSError) -> str:
    """Say in words why a file cannot be read, and what to do."""
    match error:
        case FileNotFoundError():
            return "no such file; check the spelling (a relative path counts from the folder of config.yaml)"
        case PermissionError():
            return "may not be read by this user; check owner and permissions"
        case IsADirectoryError():
            return "is a folder, not a file; name the file in it"
        case _:
            return f"cannot be read ({error.strerror or error})"


# Control characters except tab and line feed, marks that turn the direction of writing, halves of surrogate pairs:
# they have no place in a text that ends on a telephone, and a lone half cannot be stored.
_STRANGE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def strange_character(text: str) -> str | None:
    """Name the first control or direction character of ``text`` (``U+202E``), None if there is none."""
    found = _STRANGE.search(text)
    return f"U+{ord(found.group()):04X}" if found else None


class _Hopeless(Exception):  # noqa: N818 - not an error of anybody: it ends the reading of a hopeless file
    """The problem is told; nothing more can be made of this file."""


_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?|-?\.[0-9]+")
_WORDS: dict[str, object] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    ".nan": float("nan"),
    ".NaN": float("nan"),
    ".inf": float("inf"),
    "-.inf": float("-inf"),
}


def _resolve(text: str) -> object:
    """Give a plain scalar its meaning."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and len(text) <= 40:
        return float(text)
    return text


def _events(text: str) -> Iterator[Event]:
    events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
    return events


class _Builder:
    """Turns ruamel's events into a Document. One use only."""

    def __init__(self, document: Document, problems: list[Problem]) -> None:
        self._document = document
        self._problems = problems
        self._anchors: dict[str, tuple[object, int]] = {}
        self._count = 0
        self._aliased = 0
        self.last = Place(1, 1)

    def build(self, events: Iterator[Event]) -> Document:
        documents = 0
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents == 2:
                    self._tell((), event, "a second document starts here; keep one document in a file, delete the ---")
                    raise _Hopeless
                self._document.data = self._node((), next(events), events, 0)
        return self._document

    def _node(self, way: Way, event: Event, events: Iterator[Event], depth: int) -> object:
        place = self.last = _place(event)
        self._document.values[way] = place
        self._count += 1
        self._check_depth(way, event, depth)
        if isinstance(event, AliasEvent):
            return self._alias(way, event)
        assert isinstance(event, (ScalarEvent, SequenceStartEvent, MappingStartEvent))
        if event.tag is not None:
            self._tell(way, event, f"tags such as {_short_tag(event.tag)} are not allowed; delete it")
        before = self._count
        value = self._content(way, event, events, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._count - before + 1)
        return value

    def _content(self, way: Way, event: NodeEvent, events: Iterator[Event], depth: int) -> object:
        if isinstance(event, SequenceStartEvent):
            return self._sequence(way, events, depth)
        if isinstance(event, MappingStartEvent):
            return self._mapping(way, events, depth)
        assert isinstance(event, ScalarEvent)
        text = str(event.value)
        strange = strange_character(text)
        if strange:
            self._tell(way, event, f"contains the control or direction character {strange}; delete it")
        if event.style is None or event.style == "":
            self._document.plain[way] = text
            value = _resolve(text)
            if value is None and way:
                self._tell(way, event, "has no value; write one, or delete the line")
            return value
        return text

    def _sequence(self, way: Way, events: Iterator[Event], depth: int) -> list[object]:
        items: list[object] = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            items.append(self._node((*way, len(items)), event, events, depth + 1))
        return items

    def _mapping(self, way: Way, events: Iterator[Event], depth: int) -> dict[str, object]:
        entries: dict[str, object] = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            key = self._key(way, event, events)
            if key is not None and key in entries:
                first = self._document.keys[(*way, key)]
                self._tell((*way, key), event, f"{key!r} stands here twice; the first is in line {first.line}")
                key = None
            if key is None:
                self._skip(way, next(events), events)
                continue
            self._document.keys[(*way, key)] = _place(event)
            entries[key] = self._node((*way, key), next(events), events, depth + 1)
        return entries

    def _key(self, way: Way, event: Event, events: Iterator[Event]) -> str | None:
        if not isinstance(event, ScalarEvent):
            message = "a key must be a word; a text that starts with { or [ or * needs quotes"
            self._tell(way, event, message)
            self._skip(way, event, events)
            return None
        if event.value == "<<" and event.style in (None, ""):
            self._tell(way, event, "merge keys (<<) are not supported; write the entries out")
            return None
        return str(event.value)

    def _skip(self, way: Way, event: Event, events: Iterator[Event]) -> None:
        """Read past the node that begins with ``event``."""
        depth = 0
        while True:
            if isinstance(event, (SequenceStartEvent, MappingStartEvent)):
                depth += 1
            elif isinstance(event, (SequenceEndEvent, MappingEndEvent)):
                depth -= 1
            if depth == 0:
                return
            self._check_depth(way, event, depth)
            event = next(events)

    def _check_depth(self, way: Way, event: Event, depth: int) -> None:
        # Not for us alone: ruamel's time grows with the square of the depth.
        if depth > DEPTH_LIMIT:
            self._tell(way[:3], event, f"nested deeper than {DEPTH_LIMIT} levels; this cannot be meant")
            raise _Hopeless

    def _alias(self, way: Way, event: AliasEvent) -> object:
        if event.anchor not in self._anchors:
            message = f"*{event.anchor} names nothing above; a text that starts with * needs quotes"
            self._tell(way, event, message)
            return None
        value, size = self._anchors[event.anchor]
        self._count += size
        self._aliased += size
        if self._aliased > ALIAS_LIMIT:
            self._tell(way, event, f"aliases expand to more than {ALIAS_LIMIT:,} values; write the list out")
            raise _Hopeless
        return value

    def _tell(self, way: Way, event: Event, message: str) -> None:
        where = ".".join(map(str, way))
        self._problems.append(Problem(self._document.file, *_place(event), where, message))


def _place(event: Event) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)


def _short_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
