"""rules/*.yaml: rules as the engine wants them, after every check of meaning, units and plausibility."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from sensor_guard.config.builtin import FAULT_IDS
from sensor_guard.config.grammar import ANY, RuleEntry, RuleFile, Texts, When
from sensor_guard.config.rule_tests import RuleTest, read_test
from sensor_guard.config.shape import did_you_mean, listed, validated
from sensor_guard.config.source import Document, Way, read_yaml, why_unreadable
from sensor_guard.config.units import UNIT_OF, window_length, write_span
from sensor_guard.engine.plan import Condition, Form, Rule
from sensor_guard.errors import ConfigError, Problem
from sensor_guard.model import KINDS, MINUTE, Kind, Quantity, Severity

PLACEHOLDERS = {"home": 12, "held": 11, "since": 11, "sensor": 10}
"""What a message may name, and how many characters it may take when it is filled in."""
SEGMENT = 70
# UCS-2: any Chinese character, be it in the home's label alone, makes a part of a text 70 characters, not 160.
CODE_ROOM = 8
"""Characters that the answer code and what surrounds it take."""

# `is:` words: the engine's form, and the kinds that can be so.
_STATES: dict[str, tuple[Form, frozenset[str]]] = {
    "detected": (Form.IS, frozenset({Kind.SMOKE})),
    "pressed": (Form.IS, frozenset({Kind.PANIC})),
    "open": (Form.IS, frozenset({Kind.DOOR})),
    "quiet": (Form.QUIET, frozenset({Kind.MOTION, Kind.WATER, Kind.DOOR})),
    "active": (Form.ACTIVE, frozenset({Kind.WATER})),
    "silent": (Form.SILENT, frozenset({*KINDS, ANY})),
}
_MEASURED: dict[str, Quantity] = {Kind.POWER: Quantity.POWER_W, Kind.WATER: Quantity.FLOW_L_MIN}

# Limits of sense, in the quantity's unit. A fridge alone draws 30 W in the mean, a household rarely over 10 kW; a
# dripping tap loses 0.01 l/min, an open one 10 l/min; a cell below half is no news.
_SENSIBLE: dict[tuple[str, str], tuple[float, float]] = {
    (Quantity.POWER_W, "below"): (0.1, 1_000.0),
    (Quantity.POWER_W, "above"): (1.0, 50_000.0),
    (Quantity.FLOW_L_MIN, "below"): (0.001, 20.0),
    (Quantity.FLOW_L_MIN, "above"): (0.001, 100.0),
    (Quantity.BATTERY_PCT, "below"): (1.0, 50.0),
}

Tell: TypeAlias = Callable[[str, str], None]
"""Says what is wrong with the value of a key below ``when`` ("" for the whole of it)."""


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules of some files with their tests. ``places``: where each rule stands, for later problems."""

    rules: tuple[Rule, ...] = ()
    tests: tuple[RuleTest, ...] = ()
    warnings: tuple[Problem, ...] = ()
    places: Mapping[str, tuple[Document, Way]] = field(default_factory=dict, compare=False)
    files: tuple[Path, ...] = ()

    def problem(self, rule_id: str, key: str, message: str) -> Problem:
        """Say what is wrong with a key of a rule."""
        document, way = self.places[rule_id]
        return document.problem((*way, key), message)


def load_rules(paths: Iterable[Path]) -> RuleBook:
    """Read rule files, or folders of them, without a configuration around them.

    Raises:
        ConfigError: with everything that is wrong in them.
    """
    problems: list[Problem] = []
    book = read_rules(paths, problems)
    if problems:
        raise ConfigError(sorted(problems))
    return book


def read_rules(paths: Iterable[Path], problems: list[Problem]) -> RuleBook:
    """Read rule files, or folders of them; what is wrong goes to ``problems``, what is right is given."""
    reader = _Reader(problems)
    files = [file for path in paths for file in rule_files(path, problems)]
    documents: list[Document] = []
    for file in files:
        document = read_yaml(file, problems)
        if document is not None and reader.is_rule_file(document):
            reader.read_rules(document)
            documents.append(document)
    for document in documents:  # a test may name a rule of a later file
        reader.read_tests(document)
    return RuleBook(
        tuple(reader.rules.values()), tuple(reader.tests), tuple(reader.warnings), reader.places, tuple(files)
    )


def name_of(rule: Rule, language: str) -> str:
    """Give a rule's name in a language, or in the one it has."""
    return _in_language(rule.names, language) or rule.rule_id


def message_of(rule: Rule, language: str) -> str:
    """Give a rule's message, with its placeholders, in a language, or in the one it has."""
    return _in_language(rule.messages, language)


def is_signal(condition: Condition) -> bool:
    """Say whether a condition is smoke detected or a panic button pressed: at once, latched, never muted."""
    return condition.form is Form.IS and condition.kind is not None and KINDS[condition.kind].urgent


class _Reader:
    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.rules: dict[str, Rule] = {}
        self.tests: list[RuleTest] = []
        self.warnings: list[Problem] = []
        self.places: dict[str, tuple[Document, Way]] = {}
        self._seen: dict[str, tuple[Document, Way]] = {}

    def is_rule_file(self, document: Document) -> bool:
        """Check the outermost keys; each rule and each test is then read by itself, so that all faults are told."""
        if document.data is None:
            self.problems.append(
                Problem(document.file, 1, 1, "", "is empty; write rules: and a list of rules, or delete it")
            )
            return False
        if not isinstance(document.data, dict):
            validated(RuleFile, document, (), self.problems)
            return False
        for key, value in document.data.items():
            if key not in RuleFile.model_fields:
                message = (
                    f"unknown key{did_you_mean(key, RuleFile.model_fields) or '; the keys here are rules or tests'}"
                )
                self.problems.append(document.problem((key,), message, at_key=True))
            elif not isinstance(value, list):
                message = "write a list here, each entry after a dash"
                self.problems.append(document.problem((key,), message))
        return True

    def read_rules(self, document: Document) -> None:
        for place in range(_length(document, "rules")):
            way: Way = ("rules", place)
            entry = validated(RuleEntry, document, way, self.problems)
            rule_id = document.at((*way, "id"))
            if isinstance(rule_id, str):
                self._check_id(rule_id, document, way)
            if entry is not None:
                rule = self._rule(entry, document, way)
                if rule is not None and rule.rule_id not in self.rules:
                    self.rules[rule.rule_id] = rule
                    self.places[rule.rule_id] = (document, way)

    def read_tests(self, document: Document) -> None:
        for place in range(_length(document, "tests")):
            test = read_test(document, ("tests", place), self.rules, frozenset(self._seen), self.problems)
            if test is not None:
                self.tests.append(test)

    def _check_id(self, rule_id: str, document: Document, way: Way) -> None:
        if rule_id in FAULT_IDS:
            message = f"{rule_id} is a rule of the box itself; give this one another id"
            self.problems.append(document.problem((*way, "id"), message))
        first, first_way = self._seen.setdefault(rule_id, (document, way))
        if (first, first_way) != (document, way):
            line = first.place((*first_way, "id")).line
            message = f"there is a rule {rule_id} already, in {first.file}:{line}; give this one another id"
            self.problems.append(document.problem((*way, "id"), message))

    def _rule(self, entry: RuleEntry, document: Document, way: Way) -> Rule | None:
        before = len(self.problems)

        def tell(key: str, message: str) -> None:
            self.problems.append(document.problem((*way, "when", key) if key else (*way, "when"), message))

        condition = _condition(entry.when, tell)
        for key, texts in (("name", entry.name), ("message", entry.message)):
            if not texts.by_language():
                self.problems.append(document.problem((*way, key), "is empty; write zh: or en: or both"))
        self._check_message(entry.message, document, way)
        if condition is None:
            return None
        signal = is_signal(condition)
        if signal:
            self._check_signal(entry, document, way)
        if len(self.problems) > before:
            return None
        return Rule(
            entry.id,
            condition,
            Severity(entry.severity),
            entry.ladder,
            latched=signal or bool(entry.latched),
            mutable=not signal,
            unless_away=entry.unless is not None,
            names=entry.name.by_language(),
            messages=entry.message.by_language(),
        )

    def _check_signal(self, entry: RuleEntry, document: Document, way: Way) -> None:
        what = f"{entry.when.kind} is never kept back"
        if entry.severity != "critical":
            self.problems.append(document.problem((*way, "severity"), f"{what}: write critical"))
        if entry.latched is False:
            message = f"{what} and stays until somebody closes it: delete latched: false"
            self.problems.append(document.problem((*way, "latched"), message))
        if entry.unless is not None:
            message = f"{what}, not even while the home is away: delete unless"
            self.problems.append(document.problem((*way, "unless"), message, at_key=True))

    def _check_message(self, texts: Texts, document: Document, way: Way) -> None:
        for language, text in texts.by_language():
            here = (*way, "message", language)
            names = re.findall(r"\{([^{}]*)\}", text)
            for name in names:
                if name not in PLACEHOLDERS:
                    near = did_you_mean(name, PLACEHOLDERS)
                    message = f"{{{name}}} is no placeholder{near or f'; write {listed(PLACEHOLDERS)} in braces'}"
                    self.problems.append(document.problem(here, message))
            rest = re.sub(r"\{[^{}]*\}", "", text)
            if re.search(r"[{}]", rest):
                self.problems.append(document.problem(here, "a brace { or } without its other half"))
            if "\n" in rest:
                self.problems.append(document.problem(here, "a line break has no place in a text; write one line"))
            if re.search(r"https?:|www\.|://", rest, re.IGNORECASE):
                self.problems.append(document.problem(here, "carriers refuse texts with an address of the web"))
            if "home" not in names:
                self.problems.append(document.problem(here, "add {home}: the text must say where to go"))
            length = message_length(text)
            if length + CODE_ROOM > SEGMENT:
                message = (
                    f"may take {length} characters filled in; over {SEGMENT - CODE_ROOM} the text becomes two parts"
                )
                self.warnings.append(document.problem(here, message))


def message_length(text: str) -> int:
    """Count the UCS-2 units of a message with every placeholder filled in as long as it may be."""
    filled = re.sub(r"\{([a-z]+)\}", lambda found: "x" * PLACEHOLDERS.get(found[1], 0), text)
    return len(filled.encode("utf-16-le")) // 2


def _condition(when: When, tell: Tell) -> Condition | None:
    """Make the engine's condition; None where it makes no sense, and why goes to ``tell``."""
    asked = [
        name for name, value in (("below", when.below), ("above", when.above), ("is", when.is_)) if value is not None
    ]
    if len(asked) != 1:
        ways_out = "write one of below: 5 W, above: 0.1 L/min, is: quiet"
        tell(asked[1] if asked else "", f"{'more than one of' if asked else 'none of'} below, above, is; {ways_out}")
        return None
    kind = None if when.kind == ANY else when.kind
    form: Form | None
    quantity: Quantity | None = None
    threshold: float | None = 0.0
    if when.is_ is not None:
        form = _state(when, tell)
    else:
        form, (quantity, threshold) = Form(asked[0]), _threshold(when, asked[0], tell)
    if form is None or threshold is None:
        return None
    condition = Condition(form, kind, quantity, threshold, when.hold_for or 0, when.between)
    return condition if _hold_makes_sense(condition, when, tell) else None


def _state(when: When, tell: Tell) -> Form | None:
    assert when.is_ is not None
    form, kinds = _STATES[when.is_]
    if when.kind not in kinds:
        possible = [word for word, (_, allowed) in _STATES.items() if when.kind in allowed]
        numbers = " or below: / above: a limit" if when.kind in _MEASURED else ""
        tell("is", f"a sensor of kind {when.kind} is never {when.is_}; write {listed(possible)}{numbers}")
        return None
    if when.quantity is not None:
        tell("quantity", "belongs to below and above; delete it")
        return None
    return form


def _threshold(when: When, word: str, tell: Tell) -> tuple[Quantity | None, float | None]:
    """Give (quantity, or None for the kind's own; threshold, or None where it makes no sense)."""
    given = when.below if when.below is not None else when.above
    assert given is not None
    threshold, quantity = given
    own = _MEASURED.get(when.kind)
    wanted = Quantity(when.quantity) if when.quantity is not None else own
    if wanted is None:
        known = [state for state, (_, kinds) in _STATES.items() if when.kind in kinds]
        way_out = f"write is: {listed(known)}, or quantity: battery_pct"
        tell(word, f"a sensor of kind {when.kind} has no number to compare; {way_out}")
        return None, None
    if wanted not in {own, Quantity.BATTERY_PCT}:
        tell("quantity", _wrong_quantity(when.kind, wanted))
        return None, None
    if quantity != wanted:
        what = f"quantity {wanted}" if when.quantity is not None else f"kind {when.kind}"
        tell(word, f"{what} is compared in {UNIT_OF[wanted]}, not in {UNIT_OF[quantity]}")
        return None, None
    low, high = _SENSIBLE.get((wanted, word), (1.0, 0.0))
    if low > high:
        tell(word, "a full battery is nothing to tell; write below: 15 %")
    elif not low <= threshold <= high:
        unit = UNIT_OF[wanted]
        tell(word, f"{threshold:g} {unit} cannot be meant; write {low:g} {unit} to {high:g} {unit}")
    else:
        return (None if wanted == own else wanted), threshold
    return None, None


def _wrong_quantity(kind: str, quantity: Quantity) -> str:
    if quantity in {Quantity.ENERGY_WH, Quantity.VOLUME_L}:
        return "energy and volume are judged as mean power and flow: delete quantity and write W or L/min"
    own = [_MEASURED[kind]] if kind in _MEASURED else []
    return f"a sensor of kind {kind} is not compared by {quantity}; write {listed([*own, Quantity.BATTERY_PCT])}"


def _hold_makes_sense(condition: Condition, when: When, tell: Tell) -> bool:
    hold = condition.hold_for
    fine = True
    battery = condition.quantity == Quantity.BATTERY_PCT
    takes_time = not battery and condition.form in {Form.BELOW, Form.ABOVE, Form.QUIET, Form.ACTIVE}
    if is_signal(condition):
        for key, given in (("for", when.hold_for), ("between", when.between)):
            if given is not None:
                tell(key, f"{when.kind} is told at once, at any hour; delete {key}")
                fine = False
        return fine
    if takes_time and hold < MINUTE:
        where = "for" if when.hold_for is not None else ""
        tell(where, "how long must it last? write for: with at least 1m, such as for: 12h")
        fine = False
    if battery and when.hold_for is not None:
        tell("for", "a battery does not recover; delete for")
        fine = False
    if condition.between is not None and condition.form is Form.SILENT:
        tell("between", "a silent sensor is a fault at any hour; delete between")
        fine = False
    elif condition.between is not None and hold >= window_length(condition.between):
        length = write_span(window_length(condition.between))
        tell("for", f"{write_span(hold)} never fits into between, which is {length} long; shorten for")
        fine = False
    return fine


def rule_files(path: Path, problems: list[Problem]) -> list[Path]:
    """List the rule files of a folder, in the order of their names; a file is itself."""
    if not path.is_dir():
        if path.suffix.lower() in {".yaml", ".yml"} or not path.exists():
            return [path]
        problems.append(Problem(str(path), 0, 0, "", "rules are read from .yaml files; rename it"))
        return []
    try:
        names = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in {".yaml", ".yml"})
    except OSError as error:
        problems.append(Problem(str(path), 0, 0, "", why_unreadable(error)))
        return []
    files = [entry for entry in names if not entry.name.startswith(".")]
    if not files:
        problems.append(Problem(str(path), 0, 0, "", "holds no .yaml file; put the rules here"))
    return files


def _length(document: Document, key: str) -> int:
    entries = document.at((key,))
    return len(entries) if isinstance(entries, list) else 0


def _in_language(texts: tuple[tuple[str, str], ...], language: str) -> str:
    by_language = dict(texts)
    return by_language.get(language) or next(iter(by_language.values()), "")
