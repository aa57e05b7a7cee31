"""The operator's files, from text to a plan that the engine can run, or every fault in them at once.

``load`` reads config.yaml and what it names. The other modules are rooms of it: ``source`` and ``table`` know where
each value stands, ``shape`` turns models into messages, ``settings``, ``homes``, ``contacts`` and ``rules`` say what
may be written, ``compile`` puts it together, ``canonical`` keeps it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from sensor_guard.config.builtin import FAULT_IDS, FAULT_RULES
from sensor_guard.config.canonical import plan_from_text, plan_hash, plan_to_text, text_hash
from sensor_guard.config.compile import compile_plan
from sensor_guard.config.contacts import Contact, Contacts, Role, read_contacts
from sensor_guard.config.homes import HomeEntry, Homes, TopicEntry, read_homes
from sensor_guard.config.rule_tests import Expected, GivenAway, GivenReading, RuleTest
from sensor_guard.config.rules import RuleBook, load_rules, message_of, name_of, read_rules
from sensor_guard.config.schema import rules_schema, schema_text
from sensor_guard.config.secrets import (
    ServiceEnvironment,
    has_secret,
    needed_secrets,
    read_secret,
    service_environment,
)
from sensor_guard.config.sentences import sentences
from sensor_guard.config.settings import Settings, check_settings
from sensor_guard.config.shape import validated
from sensor_guard.config.shipped import RESPONDER, plan_for_unknown_homes, shipped_rules_directory
from sensor_guard.config.source import Document, read_yaml
from sensor_guard.config.units import parse_span, say_span, write_span
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


def load(path: Path) -> Config:
    """Read config.yaml and every file that it names.

    Raises:
        ConfigError: with everything that is wrong in any of them, sorted by file and line.
    """
    problems: list[Problem] = []
    document = read_yaml(path, problems)
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
    homes, contacts, book = _named_files(path, document, problems)
    if settings is None or homes is None or contacts is None or problems:
        raise ConfigError(_told(problems))
    plan, found, more = compile_plan(document, settings, homes, contacts, book)
    if found:
        raise ConfigError(_told(found))
    warnings = [*warnings, *homes.warnings, *contacts.warnings, *book.warnings, *more, *_languages(contacts, book)]
    files = (path, settings.homes, settings.contacts, *book.files)
    return Config(path, settings, homes, contacts, book, plan, tuple(sorted(warnings)), files)


def _named_files(
    path: Path, document: Document, problems: list[Problem]
) -> tuple[Homes | None, Contacts | None, RuleBook]:
    names = {
        key: name for key in ("homes", "contacts", "rules") if isinstance(name := document.at((key,)), str) and name
    }
    language = document.at(("language",))
    homes = read_homes(path.parent / names["homes"], problems) if "homes" in names else None
    contacts = None
    if "contacts" in names:
        language = language if language in {"zh", "en"} else "zh"
        contacts = read_contacts(path.parent / names["contacts"], problems, language=str(language), homes=homes)
    book = read_rules([path.parent / names["rules"]], problems) if "rules" in names else RuleBook()
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


__all__ = [
    "FAULT_IDS",
    "FAULT_RULES",
    "RESPONDER",
    "Config",
    "Contact",
    "Contacts",
    "Expected",
    "GivenAway",
    "GivenReading",
    "HomeEntry",
    "Homes",
    "Role",
    "RuleBook",
    "RuleTest",
    "ServiceEnvironment",
    "Settings",
    "TopicEntry",
    "has_secret",
    "load",
    "load_rules",
    "message_of",
    "name_of",
    "needed_secrets",
    "parse_span",
    "plan_for_unknown_homes",
    "plan_from_text",
    "plan_hash",
    "plan_to_text",
    "read_secret",
    "rules_schema",
    "say_span",
    "schema_text",
    "sentences",
    "service_environment",
    "shipped_rules_directory",
    "text_hash",
    "write_span",
]
