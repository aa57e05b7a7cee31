"""A CSV file as a community keeps it in a spreadsheet: any of its encodings and separators, told by row and column.

Streamed: a city district's list of 100,000 homes passes through without lying in the memory as a whole.
"""

import codecs
import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from sensor_guard.config.shape import did_you_mean, listed
from sensor_guard.config.source import Document, Way, strange_character, why_unreadable
from sensor_guard.errors import Problem

TABLE_LIMIT = 256 * 1024 * 1024
"""Largest table in bytes: 500,000 homes of six sensors."""
_CHUNK = 1024 * 1024


class Spot(NamedTuple):
    """A row of a table, or an entry of a YAML list: where its values stand, for problems.

    ``columns``: in a table, the number of each column; ``way``: in YAML, the way to the entry, and ``ways`` to those
    of its values that do not stand right below it.
    """

    file: str
    line: int
    columns: Mapping[str, int]
    document: Document | None = None
    way: Way = ()
    ways: Mapping[str, Way] = MappingProxyType({})

    def problem(self, column: str, message: str) -> Problem:
        """Say what is wrong with a value of this row; ``covers.1`` is the second word in ``covers``."""
        name, _, place = column.partition(".")
        if self.document is not None:
            way = self.ways.get(name, (*self.way, name))
            return self.document.problem((*way, int(place)) if place else way, message)
        return Problem(self.file, self.line, self.columns.get(name, 1), name, message)

    def __str__(self) -> str:
        return f"line {self.line}" if self.document is not None else f"row {self.line}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its name, other names it goes by, and whether it may be left out."""

    name: str
    aliases: tuple[str, ...] = ()
    required: bool = False


def read_table(
    path: Path, columns: tuple[Column, ...], problems: list[Problem]
) -> Iterator[tuple[dict[str, str], Spot]]:
    """Give each row that is not empty as {column: text} with its spot; the first row names the columns.

    Texts are stripped; a column that is not there is the empty text. What is wrong goes to ``problems``.
    """
    encoding = _encoding(path, problems)
    if encoding is None:
        return
    with path.open(encoding=encoding, newline="", errors="strict") as stream:
        number = 0
        try:
            delimiter = _delimiter(stream.readline())
            stream.seek(0)
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            header = next(reader, [])
            number = 1
            places = _header(str(path), header, columns, problems)
            if places is None:
                return
            spots = {name: place + 1 for name, place in places.items()}
            empty = dict.fromkeys((column.name for column in columns), "")
            names = {place: name for name, place in places.items()}
            # Cells of a column without a name are nobody's; that they are empty is checked below.
            wanted = [names.get(place, "") for place in range(len(header))]
            file = str(path)
            for number, cells in enumerate(reader, start=2):
                text = "".join(cells)
                if text and not text.isspace():
                    spot = Spot(file, number, spots)
                    row = empty | dict(zip(wanted, map(str.strip, cells), strict=False))
                    if len(cells) > len(header) or not text.isprintable():
                        _check_cells(cells, row, len(header), spot, problems)
                    yield row, spot
        except csv.Error as error:
            place = f"near row {number + 1}"
            message = f'{place}: a quotation mark does not fit ({error}); write " inside a text as "", close every one'
            problems.append(Problem(str(path), number + 1, 1, "", message))
        except UnicodeDecodeError:
            message = "neither UTF-8 nor GB18030 from here on; save it as 'CSV UTF-8'"
            problems.append(Problem(str(path), number + 1, 1, "", message))


def _check_cells(cells: list[str], row: dict[str, str], width: int, spot: Spot, problems: list[Problem]) -> None:
    """Tell of cells beyond the header's, and of what has no place in a text; ``row`` goes on without it."""
    if any(cell.strip() for cell in cells[width:]):
        message = "more cells than the first row has; a text that contains the separator needs quotes around it"
        problems.append(Problem(spot.file, spot.line, width + 1, "", message))
    row.pop("", None)
    for name, text in row.items():
        strange = strange_character(text) or ("a line break" if "\n" in text else None)
        if strange:
            problems.append(spot.problem(name, f"contains {strange}, which has no place in a text; delete it"))
            row[name] = "".join(letter for letter in text if letter.isprintable())


def _header(
    file: str, header: list[str], columns: tuple[Column, ...], problems: list[Problem]
) -> dict[str, int] | None:
    names = {alias.lower(): column.name for column in columns for alias in (column.name, *column.aliases)}
    wanted = [column.name for column in columns]
    places: dict[str, int] = {}
    unknown: list[Problem] = []
    for place, cell in enumerate(header):
        word = cell.strip().lower()
        name = names.get(word)
        if name is None and word:
            near = did_you_mean(word, wanted) or f"; the columns are {listed(wanted)}"
            unknown.append(Problem(file, 1, place + 1, "", f"unknown column {cell.strip()!r}{near}"))
        elif name is not None and name in places:
            unknown.append(Problem(file, 1, place + 1, name, f"stands here twice; also in column {places[name] + 1}"))
        elif name is not None:
            places[name] = place
    if not places:
        message = f"the first row must name the columns: {','.join(wanted)}"
        problems.append(Problem(file, 1, 1, "", message))
        return None
    problems.extend(unknown)
    missing = [column.name for column in columns if column.required and column.name not in places]
    problems.extend(Problem(file, 1, 1, name, "this column is missing in the first row; add it") for name in missing)
    return None if missing else places


def _delimiter(first: str) -> str:
    """Find the separator: Excel writes commas, semicolons or tabs, as the language of the machine is."""
    return max((",", ";", "\t"), key=first.count)


def _encoding(path: Path, problems: list[Problem]) -> str | None:
    """Find the encoding: UTF-8 (with or without BOM), else GB18030 as Chinese spreadsheets write it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    good = bad = 0
    first_bad: Problem | None = None
    line, size, head = 1, 0, b""
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                head = head or chunk[:8]
                size += len(chunk)
                text = decoder.decode(chunk)
                wrong = text.count("\ufffd")
                if wrong and first_bad is None:
                    before = text[: text.index("\ufffd")]
                    first_bad = Problem(str(path), line + before.count("\n"), _cell_number(before), "", "")
                good += len(text) - len(text.encode("ascii", "ignore")) - wrong
                bad += wrong
                line += text.count("\n")
    except OSError as error:
        problems.append(Problem(str(path), 0, 0, "", why_unreadable(error)))
        return None
    message = _not_a_table(head, size)
    if message is None and (bad == 0 or (good <= bad and not head.startswith(codecs.BOM_UTF8))):
        return "gb18030" if bad else "utf-8-sig"
    if message is None and first_bad is not None:
        message = "is UTF-8 with damaged characters, the first of them here; save it again as 'CSV UTF-8'"
        problems.append(Problem(first_bad.file, first_bad.line, first_bad.column, "", message))
    else:
        problems.append(Problem(str(path), 0, 0, "", message or ""))
    return None


def _not_a_table(head: bytes, size: int) -> str | None:
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return "is a workbook, not a table; in the spreadsheet choose Save as, 'CSV UTF-8'"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head:
        return "is UTF-16 ('Unicode text'); in the spreadsheet choose Save as, 'CSV UTF-8'"
    if size > TABLE_LIMIT:
        return f"is larger than {TABLE_LIMIT // 1024 // 1024} MiB; split the homes over several boxes"
    if size == 0:
        return "is empty; the first row names the columns"
    return None


def _cell_number(before: str) -> int:
    line = before[before.rfind("\n") + 1 :]
    return line.count(_delimiter(line)) + 1
