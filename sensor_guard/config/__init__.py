"""The operator's files, from text to a plan that the engine can run, or every fault in them at once.

``load`` reads config.yaml and what it names. The other modules are rooms of it: ``source`` and ``table`` know where
each value stands, ``shape`` turns models into messages, ``settings``, ``homes``, ``contacts`` and ``rules`` say what
may be written, ``compile`` and ``whole`` put it together, ``canonical`` writes a plan for the journal, ``compiled`` the
whole for the next start, ``last_good`` keeps what worked, ``child`` reads in a process of its own.
"""

from sensor_guard.config.builtin import FAULT_IDS, FAULT_RULES
from sensor_guard.config.canonical import WrittenPlan, plan_from_text, plan_hash, plan_to_text, text_hash
from sensor_guard.config.contacts import Contact, Contacts, Role
from sensor_guard.config.homes import ROOT, HomeEntry, Homes, TopicEntry, Topics
from sensor_guard.config.last_good import Kept, LastGood, Loaded, kept_name, load_for_people, load_for_service
from sensor_guard.config.rule_tests import Expected, GivenAway, GivenReading, RuleTest
from sensor_guard.config.rules import RuleBook, load_rules, message_of, name_of
from sensor_guard.config.schema import rules_schema, schema_text
from sensor_guard.config.secrets import (
    ServiceEnvironment,
    has_secret,
    needed_secrets,
    read_secret,
    service_environment,
)
from sensor_guard.config.sentences import sentences
from sensor_guard.config.settings import Settings
from sensor_guard.config.shipped import RESPONDER, plan_for_unknown_homes, shipped_rules_directory
from sensor_guard.config.units import parse_span, say_span, write_span
from sensor_guard.config.whole import Config, load

__all__ = [
    "FAULT_IDS",
    "FAULT_RULES",
    "RESPONDER",
    "ROOT",
    "Config",
    "Contact",
    "Contacts",
    "Expected",
    "GivenAway",
    "GivenReading",
    "HomeEntry",
    "Homes",
    "Kept",
    "LastGood",
    "Loaded",
    "Role",
    "RuleBook",
    "RuleTest",
    "ServiceEnvironment",
    "Settings",
    "TopicEntry",
    "Topics",
    "WrittenPlan",
    "has_secret",
    "kept_name",
    "load",
    "load_for_people",
    "load_for_service",
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
