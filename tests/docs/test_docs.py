"""The documents say what is there: files, links, verbs, options, metrics, rules, log events."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from typer.main import get_command

from sensor_guard.cli.main import app
from sensor_guard.config import load_rules, shipped_rules_directory
from sensor_guard.config.builtin import FAULT_IDS
from sensor_guard.health import Counters, GuardCollector
from sensor_guard.model import AlarmOutcome

TOP = Path(__file__).parents[2]
DOCUMENTS = sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"), *(TOP / "systemd").rglob("*.md")])
OURS = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/README.md", "docs/card-zh.md"]
OURS += ["docs/operations.md"]
FOLDERS = "sensor_guard|rules|systemd|simulators|tests|docs|benchmarks"
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((TOP / "sensor_guard").rglob("*.py")))
SUFFIX = re.compile(r"_total$")

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))


def text_of(path):
    return path.read_text(encoding="utf-8")


@cache
def anchors(path):
    """As GitHub makes them: lower case, spaces to hyphens, everything else that is no word or hyphen left out."""
    fenced = re.sub(r"^```.*?^```", "", text_of(path), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ +(.*?) *$", fenced, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", OURS)
def test_the_document_is_there(name):
    assert (TOP / name).is_file()


@each_document
def test_every_link_leads_somewhere(path):
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = unquote(target).partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            dead.append(target)
    assert dead == []


@each_document
def test_every_file_of_the_project_that_is_named_is_there(path):
    named = re.findall(rf"(?<![\w/.<-])((?:{FOLDERS})/[\w./-]*[\w/])(?![\w<*])", text_of(path))
    here = {"rules/", "rules/night.yaml"}  # a folder, and a file, of an operator
    # `sensor_guard/<gateway>/status`, `sensor_guard/box1/status` are topics of MQTT.
    topics = re.compile(r"sensor_guard/[\w-]+/(status|health|canary)|sensor_guard/$")
    missing = [name for name in named if name not in here and not topics.match(name) and not (TOP / name).exists()]
    assert missing == []


def inner(command):
    """Give the verbs of a group, {} of a verb itself."""
    return getattr(command, "commands", {})


def leaf(words):
    """Follow the words of a command line down the tree of verbs; the verb's path and its command, None if unknown."""
    command, taken = get_command(app), []
    while words and inner(command):
        found = inner(command).get(words[0])
        if found is None:
            return [*taken, words[0]], None
        command, taken, words = found, [*taken, words[0]], words[1:]
    return taken, command


def commands_in(text):
    """Give the command lines that a document shows: `sensor-guard ...` in back quotes, or a line of an example."""
    text = re.sub(r"\\\n\s*", " ", text)
    spans = re.findall(r"`([^`\n]*sensor-guard [^`\n]*)`", text)
    lines = re.findall(r"^(?: {4,}|\$ )(.*sensor-guard .*)$", text, flags=re.MULTILINE)
    for line in [*spans, *lines]:
        for part in re.split(r"&&|;|\|", line.partition(" #")[0]):
            found = re.search(r"(?:^|[\s/])sensor-guard +([^│]*)$", part.strip())
            if found and not found[1].startswith("/"):  # the program's path as an argument of another command
                yield re.sub(r'"[^"]*"', "TEXT", found[1]).split()


@each_document
def test_every_verb_and_option_that_is_shown_exists(path):
    wrong = []
    for words in commands_in(text_of(path)):
        if words[0] in ("--version", "--help", "VERB"):
            continue
        taken, command = leaf(words)
        if command is None:
            wrong.append(" ".join(taken))
            continue
        known = {name for one in command.params for name in one.opts} | {"--help", "-h"}
        options = [word for word in words if word.startswith("--")]
        wrong += [f"{' '.join(taken)} {option}" for option in options if option.partition("=")[0] not in known]
    assert wrong == []


def test_every_verb_is_shown_in_operations():
    shown = {" ".join(leaf(words)[0]) for words in commands_in(text_of(TOP / "docs/operations.md"))}
    verbs = {
        f"{name} {word}".strip() for name, command in inner(get_command(app)).items() for word in inner(command) or [""]
    }
    assert len(verbs) > 10
    assert verbs - shown == set()


def test_every_metric_of_the_daemon_is_in_operations_and_no_other():
    families = {family.name for family in GuardCollector(Counters(), dict).collect()}
    documented = re.findall(r"`(sensor_guard_[a-z_]+)(?:\{\w+\})?`", text_of(TOP / "docs/operations.md"))
    named = {SUFFIX.sub("", name) for name in documented}
    gauges = {name for name in named - families if f'"{name.removeprefix("sensor_guard_")}"' in SOURCE}
    assert named - families - gauges == set()
    assert families - named == set()


@each_document
def test_every_metric_that_is_named_exists(path):
    families = {family.name for family in GuardCollector(Counters(), dict).collect()}
    for name in re.findall(r"`(sensor_guard_[a-z_]+)(?:\{\w+\})?`", text_of(path)):
        short = SUFFIX.sub("", name)
        assert short in families or f'"{short.removeprefix("sensor_guard_")}"' in SOURCE, name


def test_every_rule_is_in_the_readme_and_every_fault_of_the_box_in_operations():
    rules = {rule.rule_id for rule in load_rules([shipped_rules_directory()]).rules}
    section = text_of(TOP / "README.md").partition("## Rules that come with it")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)) == rules
    operations = text_of(TOP / "docs/operations.md")
    section = operations.partition("## What the box says about itself")[2].partition("\n## ")[0]
    assert {fault for fault in FAULT_IDS if f"`{fault}`" not in section} == set()
    assert set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)) <= FAULT_IDS | rules


def test_faults_that_are_said_to_be_raised_are_raised_and_the_others_are_not():
    section = text_of(TOP / "docs/operations.md").partition("These ids are kept")[2].partition("\n\n")[0]
    kept = set(re.findall(r"`(\w+)`", section))
    raised = {
        fault
        for fault in FAULT_IDS
        if re.search(rf'(?:Fault\(\s*|FAULT = )"{fault}"', SOURCE) or fault == "influxdb_offline"
    }
    assert kept == FAULT_IDS - raised


def test_every_outcome_is_on_the_card_and_in_operations():
    for name in ("docs/card-zh.md", "docs/operations.md"):
        told = set(re.findall(r"^ *\| `(\w+)` \|", text_of(TOP / name), flags=re.MULTILINE))
        assert set(AlarmOutcome) - told <= {"test"}, name


def test_every_log_event_that_operations_names_is_logged():
    section = text_of(TOP / "docs/operations.md").partition("### The log")[2].partition("\n## ")[0]
    events = re.findall(r"`([a-z]+\.[a-z_]+)`", section)
    assert events
    assert [event for event in events if f'"{event}"' not in SOURCE and not event.endswith(".md")] == []


@each_document
def test_no_document_knows_the_machine_it_was_written_on(path):
    assert re.findall(r"(?:^|[\s`(])(/(?:work|root|tmp|home)/[\w./-]*)", text_of(path)) == []


def test_the_readme_begins_with_what_it_is_in_both_languages():
    first = text_of(TOP / "README.md").split("\n## ")[0]
    assert "elderly" in first
    assert "独居老人" in first
    assert "make demo" in text_of(TOP / "README.md")
