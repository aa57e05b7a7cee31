"""The people: who is told, in which language, and for which homes. Names and numbers stay in this file.

Only ids leave it; the number and the name are joined where a text is sent.
"""

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import phonenumbers
from pydantic import BeforeValidator, Field

from sensor_guard.config.homes import Homes
from sensor_guard.config.shape import Id, Strict, checked_id, did_you_mean, listed, validated
from sensor_guard.config.source import read_yaml
from sensor_guard.config.table import Column, Spot, read_table
from sensor_guard.config.units import shown
from sensor_guard.errors import Problem

LANGUAGES = ("zh", "en")


class Role(StrEnum):
    """What somebody is to a home. Ladders name roles; ``maintainer`` is who mends devices and the box."""

    WORKER = "worker"
    FAMILY = "family"
    SUPERVISOR = "supervisor"
    MAINTAINER = "maintainer"


COLUMNS = (
    Column("id", ("编号",), required=True),
    Column("name", ("姓名",), required=True),
    Column("phone", ("电话", "手机"), required=True),
    Column("language", ("语言",)),
    Column("role", ("角色",), required=True),
    Column("covers", ("负责范围",)),
)
ROLE_WORDS: dict[str, Role] = {
    **{role.value: role for role in Role},
    "社工": Role.WORKER,
    "家属": Role.FAMILY,
    "主管": Role.SUPERVISOR,
    "维护": Role.MAINTAINER,
}
_ALL = "all"
_SCOPES = ("site", "building", "home")


@dataclass(frozen=True, slots=True, repr=False)
class Contact:
    """One person. ``phone``: E.164. ``covers``: pairs such as ("home", "h301"); ("all", "") is everything.

    Its repr shows the id alone, so that no log and no traceback carries a name or a number.
    """

    contact_id: str
    name: str
    phone: str
    language: str
    role: Role
    covers: tuple[tuple[str, str], ...]
    spot: Spot = field(compare=False)

    def __repr__(self) -> str:
        return f"Contact({self.contact_id!r})"


@dataclass(frozen=True, slots=True)
class Contacts:
    """All people by id. ``warnings``: what works, and may not be meant."""

    entries: Mapping[str, Contact] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()


def _text_or_number(value: object) -> str:
    # An unquoted number is judged by check_phone, with the words that fit.
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return value
    raise ValueError(f'write the number in quotes, such as "+8613800000000", not {shown(value)}')


def _scope_list(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class _ContactRow(Strict):
    id: Id = Field(examples=["wang"])
    name: Annotated[str, Field(min_length=1, max_length=40)] = Field(examples=["王芳"])
    phone: Annotated[str, BeforeValidator(_text_or_number)] = Field(examples=['"+8613800000000"'])
    language: str = ""
    role: str = Field(examples=["worker"])
    covers: Annotated[tuple[str, ...], BeforeValidator(_scope_list)] = ()


class _ContactsFile(Strict):
    contacts: Annotated[list[object], Field(min_length=1)] = Field(
        examples=['[{id: wang, name: 王芳, phone: "+8613800000000", role: worker}]']
    )


def read_contacts(path: Path, problems: list[Problem], *, language: str, homes: Homes | None) -> Contacts | None:
    """Read a .yaml, .yml or .csv of contacts; None where anything is wrong, told in ``problems``.

    ``language``: of people for whom the file names none. ``homes``: None where the homes could not be read, so
    that ``covers`` cannot be checked against them.
    """
    reader = _Reader(language, homes)
    if path.suffix.lower() == ".csv":
        for row, spot in read_table(path, COLUMNS, reader.problems):
            reader.add(row, tuple(re.split(r"[\s;,|]+", row["covers"])) if row["covers"] else (), spot, quoted=True)
    else:
        _read_yaml_contacts(path, reader)
    if not reader.problems:
        reader.check_maintainer(path)
    problems.extend(reader.problems)
    if reader.problems:
        return None
    return Contacts(reader.contacts, (*_permission_warning(path), *reader.warnings))


def check_phone(text: str) -> tuple[str | None, str | None]:
    """Judge a number; give why it cannot be used (or None), and what is doubtful about it (or None)."""
    wrong = _wrong_writing(text)
    if wrong:
        return wrong, None
    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        return f"{text!r}: there is no such country code; write it such as +8613800000000", None
    if not phonenumbers.is_possible_number_for_type(number, phonenumbers.PhoneNumberType.MOBILE):
        country = f"+{number.country_code}"
        return (
            f"{text!r} is no mobile number of {country}: too few or too many digits (a landline takes no texts)",
            None,
        )
    if not phonenumbers.is_valid_number(number):
        return None, "no such range of numbers is known; check it, and send a text with: sensor-guard notify test"
    if phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.FIXED_LINE:
        return None, "is a landline, which takes no texts; write a mobile number"
    return None, None


def parse_scope(text: str) -> tuple[str, str]:
    """Read one word of ``covers``.

    Raises:
        ValueError: neither all nor site:ID, building:ID or home:ID; with the way out.
    """
    if text == _ALL:
        return (_ALL, "")
    scope, _, name = text.partition(":")
    if scope not in _SCOPES or not name:
        near = did_you_mean(scope, (*_SCOPES, _ALL))
        raise ValueError(f"write all, site:ID, building:ID or home:ID, not {text!r}{near}")
    return (scope, checked_id(name))


class _Reader:
    def __init__(self, language: str, homes: Homes | None) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.contacts: dict[str, Contact] = {}
        self._language = language
        self._homes = homes
        self._phones: dict[str, Contact] = {}
        known = homes or Homes()
        self._known = {"site": known.site_ids, "building": known.building_ids, "home": frozenset(known.entries)}

    def add(self, row: Mapping[str, str], covers: tuple[str, ...], spot: Spot, *, quoted: bool) -> None:
        contact_id = self._contact_id(row["id"], spot)
        if not row["name"]:
            self.problems.append(spot.problem("name", "is empty; write a name"))
        self._check_phone(row["phone"], spot, quoted=quoted)
        language = row["language"] or self._language
        if language not in LANGUAGES:
            near = did_you_mean(language, LANGUAGES)
            self.problems.append(spot.problem("language", f"write {listed(LANGUAGES)}, not {language!r}{near}"))
        role = ROLE_WORDS.get(row["role"].lower())
        if role is None:
            near = did_you_mean(row["role"], ROLE_WORDS)
            self.problems.append(spot.problem("role", f"write {listed(Role)}, not {row['role']!r}{near}"))
            return
        contact = Contact(contact_id, row["name"], row["phone"], language, role, self._covers(covers, role, spot), spot)
        known = self.contacts.setdefault(contact_id, contact) if contact_id else contact
        if known is not contact:
            message = f"there is a contact {contact_id} already, in {known.spot}; give this one another id"
            self.problems.append(spot.problem("id", message))
        same = self._phones.setdefault(contact.phone, contact)
        if same is not contact:
            message = f"has the same number as {same.contact_id} in {same.spot}: a ladder may tell one person twice"
            self.warnings.append(spot.problem("phone", message))

    def check_maintainer(self, path: Path) -> None:
        if not any(contact.role is Role.MAINTAINER for contact in self.contacts.values()):
            message = "nobody has the role maintainer, who is told when a sensor or the box itself fails; add one"
            self.problems.append(Problem(str(path), 0, 0, "", message))

    def _contact_id(self, text: str, spot: Spot) -> str:
        try:
            contact_id = checked_id(text)
        except ValueError as error:
            self.problems.append(spot.problem("id", str(error)))
            return ""
        if contact_id in {*Role, _ALL}:
            self.problems.append(spot.problem("id", f"{contact_id} is the name of a role; give the person another id"))
            return ""
        return contact_id

    def _check_phone(self, text: str, spot: Spot, *, quoted: bool) -> None:
        if not text:
            self.problems.append(spot.problem("phone", 'is empty; write a number such as "+8613800000000"'))
            return
        wrong, doubtful = check_phone(text)
        if wrong is None and not quoted:
            wrong = f'put the number in quotes: "{text}"'
        if wrong:
            self.problems.append(spot.problem("phone", wrong))
        elif doubtful:
            self.warnings.append(spot.problem("phone", doubtful))

    def _covers(self, words: tuple[str, ...], role: Role, spot: Spot) -> tuple[tuple[str, str], ...]:
        covers: list[tuple[str, str]] = []
        for place, word in enumerate(words or (_ALL,)):
            key = f"covers.{place}"
            try:
                scope, name = parse_scope(word)
            except ValueError as error:
                self.problems.append(spot.problem(key, str(error)))
                continue
            if role is Role.FAMILY and scope != "home":
                message = f"family belongs to homes; write home:ID for each of them, not {word!r}"
                self.problems.append(spot.problem(key, message))
            elif self._homes is not None and scope != _ALL and name not in self._known[scope]:
                near = did_you_mean(name, self._known[scope])
                self.problems.append(spot.problem(key, f"there is no {scope} {name!r} among the homes{near}"))
            elif (scope, name) not in covers:
                covers.append((scope, name))
        return tuple(covers)


def _read_yaml_contacts(path: Path, reader: _Reader) -> None:
    document = read_yaml(path, reader.problems)
    if document is None:
        return
    content = validated(_ContactsFile, document, (), reader.problems)
    if content is None:
        return
    for place in range(len(content.contacts)):
        way = ("contacts", place)
        contact = validated(_ContactRow, document, way, reader.problems)
        if contact is None:
            continue
        spot = Spot(document.file, document.place(way).line, {}, document, way)
        row = contact.model_dump(exclude={"covers"})
        quoted = (*way, "phone") not in document.plain
        # What an unquoted number looked like in the file says more than the number that YAML makes of it.
        row["phone"] = document.plain.get((*way, "phone"), row["phone"])
        reader.add(row, contact.covers, spot, quoted=quoted)


def _wrong_writing(text: str) -> str | None:
    if re.fullmatch(r"[0-9](\.[0-9]+)?[eE]\+?[0-9]+", text):
        return f"{text}: a spreadsheet has rounded this number; format the column as text and write it again"
    digits = re.sub(r"[\s().-]", "", text)
    if digits != text and re.fullmatch(r"\+?[0-9]+", digits):
        return f"{text!r}: write the digits without spaces or dashes: {digits}"
    if not text.startswith("+"):
        return f"{text!r}: {_without_plus(text)}"
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", text):
        return f"{text!r} is not a number; write + and the country code, then digits only, such as +8613800000000"
    return None


def _without_plus(text: str) -> str:
    if re.fullmatch(r"861[3-9][0-9]{9}", text):
        return f"the + is missing (a spreadsheet drops it: format the column as text); write +{text}"
    if re.fullmatch(r"1[3-9][0-9]{9}", text):
        return f"the country code is missing; write +86{text} for a number in China"
    if re.fullmatch(r"00[1-9][0-9]{6,14}", text):
        return f"write + in place of 00: +{text[2:]}"
    if re.fullmatch(r"[0-9]+", text):
        return (
            "+ and country code are missing (a spreadsheet drops + and leading zeros); write it such as +8613800000000"
        )
    return "is not a number; write + and the country code, then digits only, such as +8613800000000"


def _permission_warning(path: Path) -> list[Problem]:
    try:
        mode = path.stat().st_mode
    except OSError:
        return []
    if not mode & stat.S_IROTH:
        return []
    message = f"everybody on this machine may read names and numbers; run: chmod 640 {path}"
    return [Problem(str(path), 0, 0, "", message)]
