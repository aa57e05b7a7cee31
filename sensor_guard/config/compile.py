"""Settings, homes, contacts and rules, put together to the plan that the engine runs on.

People are resolved here: for each home, each step of a ladder becomes the ids of those who cover it. A step that
would tell nobody is an error, because an alarm that nobody hears is none.
"""

from collections.abc import Iterable, Mapping

from sensor_guard.config.builtin import FAULT_RULES
from sensor_guard.config.contacts import Contact, Contacts, Role
from sensor_guard.config.homes import HomeEntry, Homes
from sensor_guard.config.rules import RuleBook
from sensor_guard.config.settings import TECHNICAL, LadderSettings, Settings
from sensor_guard.config.shape import did_you_mean, listed
from sensor_guard.config.source import Document
from sensor_guard.engine.plan import HomePlan, Ladder, Plan, Step
from sensor_guard.errors import Problem
from sensor_guard.model import GATEWAY, KINDS

NamedLadders = tuple[tuple[str, Ladder], ...]


def compile_plan(
    document: Document, settings: Settings, homes: Homes, contacts: Contacts, book: RuleBook
) -> tuple[Plan, list[Problem], list[Problem]]:
    """Make the plan; give it with what is wrong (then it must not be used) and what may not be meant."""
    used = [name for name in settings.ladders if any(rule.ladder == name for rule in book.rules)]
    resolver = _Resolver(settings.ladders, contacts)
    home_plans = tuple(
        HomePlan(
            home.home_id,
            home.site_id,
            home.building_id,
            home.sensors,
            resolver.of_home(home, used),
            home.rules_off,
        )
        for home in homes.entries.values()
    )
    gateway = HomePlan(GATEWAY, "", "", (), resolver.of_gateway())
    plan = Plan(
        (*book.rules, *FAULT_RULES), (*home_plans, gateway), settings.lateness, settings.zone, settings.timezone
    )
    problems = [
        *_unknown_people(document, settings, contacts),
        *_unknown_ladders(settings, book),
        *_unknown_rules_off(homes, book),
    ]
    # A misspelt name leaves steps empty: one cause, one message.
    problems = problems or resolver.nobody(document)
    return plan, problems, [*_unused_ladders(document, settings, used), *_unwatched(document, homes, book)]


class _Resolver:
    """Finds the people of each home. Homes with the same people share one object."""

    def __init__(self, ladders: Mapping[str, LadderSettings], contacts: Contacts) -> None:
        self._ladders = ladders
        self._contacts = contacts
        self._by_scope: dict[tuple[str, str], list[Contact]] = {}
        for contact in contacts.entries.values():
            for scope in contact.covers:
                self._by_scope.setdefault(scope, []).append(contact)
        self._interned: dict[Ladder, Ladder] = {}
        self._of_people: dict[tuple[str, ...], NamedLadders] = {}
        self._empty: dict[tuple[str, int], list[str]] = {}

    def of_home(self, home: HomeEntry, names: list[str]) -> NamedLadders:
        scopes = (("all", ""), ("site", home.site_id), ("building", home.building_id), ("home", home.home_id))
        ids = {contact.contact_id for scope in scopes for contact in self._by_scope.get(scope, ())}
        # In the order of the file, so that the same people make the same ladder.
        people = tuple(contact_id for contact_id in self._contacts.entries if contact_id in ids)
        known = self._of_people.get(people)
        if known is None:
            known = self._of_people[people] = tuple((name, self._ladder(name, people)) for name in names)
        for name, ladder in known:
            for index, step in enumerate(ladder.steps):
                if not step.recipient_ids:
                    self._empty.setdefault((name, index), []).append(home.home_id)
        return known

    def of_gateway(self) -> NamedLadders:
        """The box belongs to every home: whoever has the role is told, whatever he covers."""
        if TECHNICAL not in self._ladders:
            return ()
        ladder = self._ladder(TECHNICAL, tuple(self._contacts.entries))
        for index, step in enumerate(ladder.steps):
            if not step.recipient_ids:
                self._empty.setdefault((TECHNICAL, index), []).append(f"{GATEWAY} (the box itself)")
        return ((TECHNICAL, ladder),)

    def nobody(self, document: Document) -> list[Problem]:
        """Tell of each step that nobody would be told by, with the homes that it concerns."""
        problems = []
        for (name, index), homes in self._empty.items():
            way = ("ladders", name, "steps", index)
            words = listed(self._ladders[name].steps[index].to)
            where = f"{listed(homes, limit=5)}" if len(homes) > 1 else homes[0]
            message = (
                f"nobody is {words} for {len(homes)} home{'s'[: len(homes) > 1]}: {where}; add a contact that covers "
                f"{'them' if len(homes) > 1 else 'it'}, or another role to this step"
            )
            problems.append(document.problem((*way, "to"), message))
        return problems

    def _ladder(self, name: str, people: tuple[str, ...]) -> Ladder:
        settings = self._ladders[name]
        entries = self._contacts.entries
        steps = []
        for step in settings.steps:
            told: dict[str, None] = {}
            for word in step.to:
                if word in set(Role):
                    told |= dict.fromkeys(person for person in people if entries[person].role == word)
                elif word in entries:
                    told[word] = None
            steps.append(Step(step.after, tuple(told)))
        ladder = Ladder(tuple(steps), settings.repeat_every, settings.remind_unclosed)
        return self._interned.setdefault(ladder, ladder)


def _unknown_people(document: Document, settings: Settings, contacts: Contacts) -> list[Problem]:
    known = [*Role, *contacts.entries]
    return [
        document.problem(
            ("ladders", name, "steps", index, "to", place),
            f"{word!r} is neither a role ({listed(Role)}) nor a contact{did_you_mean(word, known)}",
        )
        for name, ladder in settings.ladders.items()
        for index, step in enumerate(ladder.steps)
        for place, word in enumerate(step.to)
        if word not in known
    ]


def _unknown_ladders(settings: Settings, book: RuleBook) -> list[Problem]:
    known = listed(settings.ladders)
    return [
        book.problem(
            rule.rule_id,
            "ladder",
            f"config.yaml has no ladder {rule.ladder!r}"
            f"{did_you_mean(rule.ladder, settings.ladders) or f'; its ladders are {known}'}",
        )
        for rule in book.rules
        if rule.ladder not in settings.ladders
    ]


def _unknown_rules_off(homes: Homes, book: RuleBook) -> list[Problem]:
    rules = {rule.rule_id: rule for rule in book.rules}
    problems = []
    for home in homes.entries.values():
        for rule_id in home.rules_off:
            if rule_id not in rules:
                message = f"there is no rule {rule_id!r}{did_you_mean(rule_id, rules)}"
                problems.append(home.spot.problem("rules_off", message))
            elif not rules[rule_id].mutable:
                message = f"{rule_id} cannot be switched off: smoke and the panic button are never kept back"
                problems.append(home.spot.problem("rules_off", message))
    return problems


def _unused_ladders(document: Document, settings: Settings, used: Iterable[str]) -> list[Problem]:
    return [
        document.problem(("ladders", name), f"no rule uses the ladder {name}", at_key=True)
        for name in settings.ladders
        if name not in used and name != TECHNICAL
    ]


def _unwatched(document: Document, homes: Homes, book: RuleBook) -> list[Problem]:
    """Warn of kinds of sensors that hang in homes while no rule of their own looks at what they say."""
    watched = {rule.condition.kind for rule in book.rules if rule.condition.kind is not None}
    count: dict[str, int] = {}
    for home in homes.entries.values():
        for sensor in home.sensors:
            if sensor.kind not in watched:
                count[sensor.kind] = count.get(sensor.kind, 0) + 1
    return [
        document.problem(("rules",), f"no rule watches {KINDS[kind].en} sensors, of which there are {number}")
        for kind, number in count.items()
    ]
