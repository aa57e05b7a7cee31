"""Where and why a file is no YAML, in words that lead out of it."""

import re
from typing import NamedTuple

from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from sensor_guard.errors import Problem


class Place(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int


def place_of_offset(text: str, offset: int) -> Place:
    """Say in which line and column a character stands."""
    line = text.count("\n", 0, offset)
    return Place(line + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1)


def character_problem(file: str, text: str, error: ReaderError) -> Problem:
    """Tell of a character that no text may contain."""
    place = place_of_offset(text, error.position)
    message = f"the control character U+{_codepoint(error):04X} is not allowed; delete it"
    return Problem(file, *place, "", message)


def syntax_problem(file: str, text: str, error: MarkedYAMLError) -> Problem:
    """Tell what ruamel found wrong, and what a person can do about it."""
    said = str(error.problem or error.context or "not readable as YAML")
    mark = error.problem_mark or error.context_mark
    message = ""
    for pattern, advice in _SYNTAX:
        found = re.search(pattern, said)
        if found:
            message = advice.format(*found.groups())
            # For something that was opened and not closed, the opening is what a person must see.
            if "opened here" in advice and error.context_mark is not None:
                mark = error.context_mark
            break
    place = Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return Problem(file, *place, "", _TAB)
    # A full-width colon makes no key, so that the fault shows one line later.
    for number in (place.line, place.line - 1):
        found = _FULL_WIDTH.search(_QUOTED.sub("", lines[number - 1])) if 0 < number <= len(lines) else None
        if found:
            message += f"; line {number} contains the full-width character '{found.group()}': type it in the ASCII mode"
            break
    return Problem(file, *place, "", message or f"not readable as YAML: {said}")


_TAB = "a tab; indent with spaces, YAML knows no tabs"
# What ruamel says, and what a person can do about it. The first that fits is taken.
_SYNTAX = (
    (r"'\\t' that cannot start", _TAB),
    (r"character '([@`%|>&*!])' that cannot", "a text that starts with {0} needs quotes"),
    (
        r"mapping values are not allowed",
        "a ': ' too many: put a text that contains ': ' in quotes, or check the indent",
    ),
    (r"found unexpected end of stream|unexpected end of", "a quotation mark opened here is never closed"),
    (r"expected ',' or '([\]}])', but got", "the bracket opened here is not closed; check for a missing {0} or comma"),
    (r"expected the node content, but found '(.+)'", "a value is missing before {0}"),
    (r"could not find expected ':'", "a line without ':'; write key: value, with a space after the colon"),
    (
        r"expected <block end>, but found",
        "does not fit what stands above it; check the indent, and quote texts with {{ }}",
    ),
    (r"expected '<document start>'", "does not fit what stands above it; check the indent"),
    (r"undefined tag handle|tag", "tags (!...) are not allowed; a text that starts with ! needs quotes"),
    (r"found undefined alias|alias", "a text that starts with * needs quotes"),
    (r"anchor", "a text that starts with & needs quotes"),
    (r"unknown escape character", "an unknown escape after \\; use single quotes, or write \\\\"),
    (r"escape sequence", "an escape that names no character; use single quotes, or write \\\\"),
)
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|#.*")
_FULL_WIDTH = re.compile("[\uff1a\uff0c\u201c\u201d\u2018\u2019\u3010\u3011\uff5b\uff5d\uff0d]")


def _codepoint(error: ReaderError) -> int:
    character = error.character
    return character if isinstance(character, int) else ord(str(character)[:1] or "\0")
