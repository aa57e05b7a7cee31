"""The whole configuration: every file read, checked, and put together; or everything that is wrong in any of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from sensor_guard.config.compile import compile_plan
from sensor_guard.config.contacts import LANGUAGES, Contact, Contacts, read_contacts
from sensor_guard.config.homes import Homes, TopicEntry, read_homes
from sensor_guard.config.rule_tests import RuleTest
from sensor_guard.config.rules import RuleBook, message_of, name_of, read_rules
from sensor_guard.config.sentences import sentences
from sensor_guard.config.settings import Settings, check_settings
from sensor_guard.config.shape import validated
from sensor_guard.config.source import Document, read_yaml
from sensor_guard.engine.plan import Plan, Rule
from sensor_guard.errors import ConfigError, Problem
from sensor_guard.model import GATEWAY

PROBLEM_LIMIT = 100
"""Most problems told of one file; of the rest, only how many there are."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the operator's files say, checked.

    ``path``: of config.yaml; ``files``: every file that was read. ``warnings``: works, but may not be meant.
    """

    path: Path
    settings: Settings
    homes: Homes
    contacts: Contacts
    book: RuleBook
    plan: Plan
    warnings: tuple[Problem, ...]
    files: tuple[Path, ...]

    @property
    def is_whole(self) -> bool:
        """Say whether it is one to run on; else it only says where the daemon is (``load_for_people``)."""
        return bool(self.plan.homes)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The operator's rules, without those of the box itself."""
        return self.book.rules

    @property
    def tests(self) -> tuple[RuleTest, ...]:
        """The tests that stand beside the rules."""
        return self.book.tests

    @property
    def topics(self) -> Mapping[str, TopicEntry]:
        """Every topic: whose it is, and how it is read."""
        return self.homes.topics

    @property
    def zone(self) -> tzinfo:
        """The time zone of the homes."""
        return self.settings.zone

    def contact(self, contact_id: str) -> Contact | None:
        """Give a person, None where the id is nobody's (any more)."""
        return self.contacts.entries.get(contact_id)

    def label(self, home_id: str) -> str:
        """Give what people call a home; the id itself where no such home is known (any more)."""
        if home_id == GATEWAY:
            return self.settings.gateway
        home = self.homes.entries.get(home_id)
        return home.label if home is not None else home_id

    def rule(self, rule_id: str) -> Rule | None:
        """Give a rule, one of the box itself included; None where there is none (any more)."""
        return next((rule for rule in self.plan.rules if rule.rule_id == rule_id), None)

    def name(self, rule_id: str, language: str) -> str:
        """Give a rule's name in a language; the id itself where the rule is not known (any more)."""
        rule = self.rule(rule_id)
        return name_of(rule, language) if rule is not None else rule_id

    def message(self, rule_id: str, language: str) -> str:
        """Give a rule's message with its placeholders; home and id where the rule is not known (any more)."""
        rule = self.rule(rule_id)
        return message_of(rule, language) if rule is not None else f"{{home}} {rule_id}"

    def sentences(self, language: str) -> list[str]:
        """Say every rule in one plain sentence."""
        return sentences(self.book.rules, self.settings.ladders, language)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files stand that make a configuration. ``rules``: a folder, or one file."""

    config: Path
    homes: Path | None = None
    contacts: Path | None = None
    rules: Path | None = None


def load(path: Path, *, copies: Places | None = None) -> Config:
    """Read config.yaml and every file that it names.

    copies: read these instead, which stood at those places once; what config.yaml says of other paths still counts
    from the folder of ``path``.

    Raises:
        ConfigError: with everything that is wrong in any of them, sorted by file and line.
    """
    problems: list[Problem] = []
    document = read_yaml(copies.config if copies else path, problems)
    if document is not None and document.data is None:
        problems.append(Problem(str(path), 0, 0, "", "is empty; start from the example config.yaml"))
    if document is None or document.data is None:
        raise ConfigError(problems)
    settings = validated(Settings, document, (), problems, context={"folder": path.parent})
    warnings: list[Problem] = []
    if settings is not None:
        found, warnings = check_settings(document, settings)
        problems.extend(found)
    # The other files are read even where config.yaml is wrong, so that everything is told at once.
    homes, contacts, book = _named_files(copies or named_places(path, document), document, problems)
    if settings is None or homes is None or contacts is None or problems:
        raise ConfigError(_told(problems))
    plan, found, more = compile_plan(document, settings, homes, contacts, book)
    if found:
        raise ConfigError(_told(found))
    warnings = [*warnings, *homes.warnings, *contacts.warnings, *book.warnings, *more, *_languages(contacts, book)]
    files = (path, settings.homes, settings.contacts, *book.files)
    return Config(path, settings, homes, contacts, book, plan, tuple(sorted(warnings)), files)


def named_places(path: Path, document: Document) -> Places:
    """Say which files this config.yaml names; None for each that it does not."""
    homes, contacts, rules = (
        path.parent / name if isinstance(name := document.at((key,)), str) and name else None
        for key in ("homes", "contacts", "rules")
    )
    return Places(path, homes, contacts, rules)


def _named_files(
    places: Places, document: Document, problems: list[Problem]
) -> tuple[Homes | None, Contacts | None, RuleBook]:
    language = document.at(("language",))
    homes = read_homes(places.homes, problems) if places.homes is not None else None
    contacts = None
    if places.contacts is not None:
        # A list, say, stands in no set.
        word = language if isinstance(language, str) and language in LANGUAGES else LANGUAGES[0]
        contacts = read_contacts(places.contacts, problems, language=word, homes=homes)
    book = read_rules([places.rules], problems) if places.rules is not None else RuleBook()
    return homes, contacts, book


def _languages(contacts: Contacts, book: RuleBook) -> list[Problem]:
    """Warn of rules without a message in a language that somebody reads."""
    wanted = sorted({contact.language for contact in contacts.entries.values()})
    return [
        book.problem(
            rule.rule_id, "message", f"has no {language}, which some contacts read; they get the other language"
        )
        for rule in book.rules
        for language in wanted
        if language not in dict(rule.messages)
    ]


def _told(problems: list[Problem]) -> list[Problem]:
    """Sort the problems; of a file with more than ``PROBLEM_LIMIT`` of them tell how many are left out."""
    told: list[Problem] = []
    count: dict[str, int] = {}
    for problem in sorted(problems):
        count[problem.file] = count.get(problem.file, 0) + 1
        if count[problem.file] <= PROBLEM_LIMIT:
            told.append(problem)
    for file, number in count.items():
        if number > PROBLEM_LIMIT:
            message = f"{number - PROBLEM_LIMIT:,} more problems in this file are not shown; correct these first"
            told.append(Problem(file, 0, 0, "", message))
    return told
