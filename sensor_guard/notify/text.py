"""Renders a notification into the text that a person reads, at the moment of sending, always one segment.

A digest is two at most: see ``digest``.

It says where, what, since when, what to do, and the code by which it is answered and found again.
What a notification's ``params`` may hold, all as strings (the engine fills them in, ids, numbers and words only):

since_ms     when the condition began                      observed_ms  how much of the time since was seen
held_ms      how long it had lasted                        blind_ms     how much was not
sensor       id of the first sensor of the rule            value        what it last said, in the quantity's unit
count        how often an edge came (button presses)       fault        what the box says about its own fault
actor        contact id of who answered, closed or asked   outcome      a word of ``AlarmOutcome``

What is missing is left out of the text; nothing that stands there can make it longer than a segment.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from sensor_guard.model import MINUTE, Instant, Notification, NotificationKind, Severity
from sensor_guard.notify.digest import render_digest
from sensor_guard.notify.plain import plain, without_addresses
from sensor_guard.notify.protocol import Contact, Directory
from sensor_guard.notify.segment import cut, fits, shortened
from sensor_guard.notify.words import Words, say_held, say_since, words_for

LABEL_LIMIT = 40
LABEL_KEPT = 16
"""A label gives way to the evidence down to this length; below it the evidence is left out first."""
LABEL_LEAST = 8
"""Below this the message gives way: a text must say where to go."""
NAME_LIMIT = 16
RULE_LIMIT = 24
SENSOR_LIMIT = 16
FAULT_LIMIT = 30
MESSAGE_LIMIT = 160
CODE_LIMIT = 8
"""Longest of each field, in characters."""

BLIND_FROM = 10 * MINUTE
BLIND_SHARE = 20
"""Time without data is told from ten minutes and a twentieth of the whole on: less is a reading or two."""

_CALLS = (NotificationKind.ALARM, NotificationKind.REMINDER)
_BY_WEIGHT = ("blind", "since", "count", "fault")
_AS_READ = ("since", "blind", "count", "fault")


def render(notification: Notification, contact: Contact, directory: Directory, now: Instant) -> str:
    """Give the text for this person, as of now: one segment (a digest: at most two), with the code at its end."""
    language, words = words_for(contact.language)
    code = re.sub(r"[^0-9A-Za-z]", "", notification.code)[:CODE_LIMIT]
    ending = f"{words.before_code}[{code}]" if code else ""
    if notification.kind == NotificationKind.DIGEST:
        return render_digest(dict(notification.params), directory, language, ending)
    fields = _fields(notification, contact, directory, language, now)
    template = words.kinds.get(notification.kind, "{message}")
    message = plain(directory.message(notification.rule_id, language), MESSAGE_LIMIT) if notification.rule_id else ""
    if "{home}" not in message:
        message = f"{{home}} {message or '{rule}'}"
    template = template.replace("{message}", message)
    evidence = _evidence(notification, template, fields, language) if notification.kind in _CALLS else {}
    return _fitted(template, fields, evidence, words, ending)


def _fields(
    notification: Notification, contact: Contact, directory: Directory, language: str, now: Instant
) -> dict[str, str]:
    """Give the value of every placeholder, plain and of limited length; "" for what is not known."""
    words = words_for(language)[1]
    params = dict(notification.params)
    since, held = _number(params, "since_ms"), _number(params, "held_ms")
    actor = directory.contact(params["actor"]) if "actor" in params else None
    return {
        "home": plain(directory.label(notification.home_id), LABEL_LIMIT),
        "rule": plain(directory.name(notification.rule_id, language), RULE_LIMIT) if notification.rule_id else "",
        "held": "" if held is None else say_held(held, language),
        "since": "" if since is None else say_since(since, now, directory.zone, language),
        "sensor": plain(params.get("sensor", ""), SENSOR_LIMIT),
        "value": plain(params.get("value", ""), SENSOR_LIMIT),
        "person": plain(contact.name, NAME_LIMIT),
        "actor": (plain(actor.name, NAME_LIMIT) if actor is not None else "") or words.somebody,
        "outcome": words.outcomes.get(params.get("outcome", ""), words.closed_somehow),
    }


def _evidence(notification: Notification, template: str, fields: Mapping[str, str], language: str) -> dict[str, str]:
    """Give what may stand in brackets after the message, by its name in ``_AS_READ``."""
    words = words_for(language)[1]
    params = dict(notification.params)
    held, blind = _number(params, "held_ms") or 0, _number(params, "blind_ms") or 0
    evidence = {}
    if fields["since"] and "{since}" not in template:
        pattern = words.since if held >= MINUTE else words.moment
        evidence["since"] = pattern.replace("{since}", fields["since"])
    # A device that says nothing is without data all the time: only of a person's day is it news.
    told = notification.severity != Severity.MAINTENANCE
    if told and blind >= BLIND_FROM and blind * BLIND_SHARE >= held:
        evidence["blind"] = words.blind.replace("{blind}", say_held(blind, language))
    count = _number(params, "count") or 0
    if 1 < count < 1_000:
        evidence["count"] = words.times.replace("{count}", str(count))
    fault = plain(params.get("fault", ""), FAULT_LIMIT)
    return {**evidence, "fault": fault} if fault else evidence


def _fitted(template: str, fields: Mapping[str, str], evidence: Mapping[str, str], words: Words, code: str) -> str:
    """Put the text together and make it fit: first the label gives way, then the evidence, at last the message."""
    body = ""
    for label, kept in _candidates(fields["home"], [name for name in _BY_WEIGHT if name in evidence]):
        body = " ".join(_filled(template, {**fields, "home": label}).split())
        if kept:
            told = words.comma.join(evidence[name] for name in _AS_READ if name in kept)
            body = f"{body.removesuffix('.')}{words.opening}{told}{words.closing}"
        body = without_addresses(body)  # two fields side by side may have made one
        if fits(body + code):
            return body + code
    while not fits(body + code):
        body = cut(body, len(body) - 1)
    return body + code


def _candidates(label: str, names: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Give label and names of evidence, ever shorter and fewer."""
    kept, least = min(LABEL_KEPT, len(label)), min(LABEL_LEAST, len(label))
    for count in range(len(names), -1, -1):
        for some in combinations(names, count):
            for length in range(len(label), kept - 1, -1):
                yield shortened(label, length), some
    for length in range(kept - 1, least - 1, -1):
        yield shortened(label, length), ()


def _filled(template: str, fields: Mapping[str, str]) -> str:
    # In one pass: braces in a value are text.
    return re.sub(r"\{([^{}]*)\}", lambda found: fields.get(found[1], ""), template)


def _number(params: Mapping[str, str], key: str) -> int | None:
    text = params.get(key, "")
    return int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else None
