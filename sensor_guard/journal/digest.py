"""Several texts to one person become one: after an outage, and in a storm of alarms.

A person who gets forty texts reads none of them. So beyond a few that go on their own, what waits for somebody is told
by one text, the digest: a row of the outbox like any other, with a code of its own. The texts that it tells stay rows
too (``folded_into``) and share its fate: what is reported of the digest is reported of each of them, so that a ladder
goes on exactly as if its own text had been sent. A digest belongs to no alarm and answers none.

Critical texts are never folded. What is folded is decided when texts are leased, in the same transaction: a crash
leaves either the single texts or the digest, never both.
"""

import sqlite3
from dataclasses import dataclass
from typing import NamedTuple

from sensor_guard.journal.codec import encode_params
from sensor_guard.journal.rows import URGENCY
from sensor_guard.model import DAY, GATEWAY, MINUTE, Instant, Notification, NotificationKind, Span

SHOWN_LIMIT = 8
"""Most alarms that a digest carries by name; two segments have room for fewer. The list has them all."""
LATE_AFTER: Span = 30 * MINUTE
"""A digest with a text that has waited for so long says that it is late."""

_NEWS = (NotificationKind.STAND_DOWN, NotificationKind.CLOSED)
_SEVERITIES = {rank: severity for severity, rank in URGENCY.items()}
_UNDER_WAY = "state IN ('sending', 'accepted', 'delivered', 'ambiguous')"
_LATELY = (
    "SELECT count(*) FILTER (WHERE kind <> 'digest' AND urgency > 0 AND attempted_at > ?), count(*),"  # noqa: S608
    " max(attempted_at) FILTER (WHERE kind = 'digest' AND attempted_at > ?)"
    " FROM outbox INDEXED BY outbox_tried WHERE recipient_id = ? AND attempted_at > ? AND attempted_at <= ?"
    f" AND kind <> 'test' AND folded_into IS NULL AND {_UNDER_WAY}"
)
_FOLDABLE = "state = 'pending' AND folded_into IS NULL AND urgency > 0 AND kind NOT IN ('digest', 'test')"


@dataclass(frozen=True, slots=True)
class Folding:
    """When texts to one person are folded.

    ``singles`` within ``window`` go on their own, at once, and at most ``per_day`` in a day. What is beyond waits for
    ``gather`` for company; two or more are folded, one alone goes as it is. ``stale_count`` or more that have waited
    for ``stale_after`` are folded together, whatever there is else. One digest to a person within ``window``: so a
    storm is ``singles`` + 1 texts. ``per_day``: as in ``notify.limits``, so that what would be over the budget is told
    by a digest and not failed.
    """

    singles: int = 2
    window: Span = 10 * MINUTE
    gather: Span = MINUTE
    stale_after: Span = LATE_AFTER
    stale_count: int = 4
    per_day: int = 6


FOLDING = Folding()
"""What the daemon does."""


class Plan(NamedTuple):
    """What becomes of the texts that wait for one person: ``fold`` now, ``hold`` until then; the rest may go."""

    fold: list[str]
    hold: list[str]
    hold_until: Instant


class _Waiting(NamedTuple):
    notification_id: str
    created_at: Instant


def recipients_to_fold(db: sqlite3.Connection, now: Instant) -> list[str]:
    """Give the people for whom something waits that is not critical and might be folded."""
    rows = db.execute(
        f"SELECT DISTINCT recipient_id FROM outbox INDEXED BY outbox_foldable WHERE {_FOLDABLE} AND due_at <= ?"  # noqa: S608
        " ORDER BY recipient_id",
        (now,),
    )
    return [row[0] for row in rows]


def plan_for(db: sqlite3.Connection, recipient_id: str, now: Instant, folding: Folding) -> Plan:
    """Decide what becomes of the texts that wait for this person."""
    # Those that wait for a later try as well: a digest has room for all.
    waiting = [
        _Waiting(*row)
        for row in db.execute(
            f"SELECT notification_id, created_at FROM outbox WHERE recipient_id = ? AND {_FOLDABLE}"  # noqa: S608
            " ORDER BY urgency, alarm_at DESC, due_at, rowid",
            (recipient_id,),
        )
    ]
    free, is_spent, digest_at = _free_singles(db, recipient_id, now, folding)
    digest = waiting_digest(db, recipient_id)
    company = len(members_of(db, digest)) if digest is not None else 0
    spaced_at = 0 if digest_at is None else digest_at + folding.window
    stale = [one for one in waiting if one.created_at <= now - folding.stale_after]
    if len(stale) + company < folding.stale_count:
        stale = []
    fresh = [one for one in waiting if one not in set(stale)]
    rest = fresh[free:]
    together = [one.notification_id for one in waiting if one in set(stale) | set(rest)]
    if not rest and not stale:
        return Plan([], [], now)
    ready_at = spaced_at if stale else max(spaced_at, min(one.created_at for one in rest) + folding.gather)
    if ready_at > now:
        # A clock that was set back may have written a time to come: nobody waits longer than a window.
        return Plan([], together, min(ready_at, now + folding.window))
    # One alone as well, where the day has no room for it: a digest has, and a text that is refused tells nobody.
    if len(together) > 1 or digest is not None or is_spent:
        return Plan(together, [], now)
    return Plan([], [], now)


def waiting_digest(db: sqlite3.Connection, recipient_id: str) -> str | None:
    """Give the digest that waits for its next try, so that a person has one of an outage and not several."""
    row = db.execute(
        "SELECT notification_id FROM outbox WHERE recipient_id = ? AND kind = 'digest' AND state = 'pending'"
        " AND folded_into IS NULL ORDER BY rowid LIMIT 1",
        (recipient_id,),
    ).fetchone()
    return None if row is None else str(row[0])


def digest_for(db: sqlite3.Connection, recipient_id: str, now: Instant) -> Notification:
    """Make an empty digest with an id that is not there yet."""
    at = now
    while db.execute("SELECT 1 FROM outbox WHERE notification_id = ?", (_id(recipient_id, at),)).fetchone():
        at += 1
    return Notification(
        notification_id=_id(recipient_id, at),
        alarm_id="",
        home_id=GATEWAY,
        rule_id="",
        kind=NotificationKind.DIGEST,
        severity="",
        step=0,
        recipient_id=recipient_id,
        due_at=now,
        alarm_at=now,
    )


def is_digest(db: sqlite3.Connection, notification_id: str) -> bool:
    """Say whether this is a digest."""
    row = db.execute("SELECT kind FROM outbox WHERE notification_id = ?", (notification_id,)).fetchone()
    return row is not None and row[0] == NotificationKind.DIGEST


def members_of(db: sqlite3.Connection, digest_id: str) -> list[str]:
    """Give the texts that another one tells, those that nobody needs any more left out."""
    return [
        row[0]
        for row in db.execute(
            "SELECT notification_id FROM outbox WHERE folded_into = ? AND state <> 'cancelled' ORDER BY rowid",
            (digest_id,),
        )
    ]


def renew(db: sqlite3.Connection, digest_id: str, now: Instant) -> bool:
    """Write into the digest what it tells now; False if nothing is left to tell."""
    rows = db.execute(
        "SELECT alarm_id, home_id, rule_id, kind, urgency, alarm_at, created_at FROM outbox"
        " WHERE folded_into = ? AND state = 'pending' ORDER BY urgency, alarm_at DESC, rowid",
        (digest_id,),
    ).fetchall()
    if not rows:
        return False
    calls = {row[0]: row for row in rows if row[3] not in _NEWS}
    news = {row[0] for row in rows} - set(calls)
    params = {"count": str(len(calls)), "news": str(len(news))}
    if min(row[6] for row in rows) <= now - LATE_AFTER:
        params["late"] = "1"
    for place, row in enumerate(list(calls.values())[:SHOWN_LIMIT]):
        params[f"alarm{place}"] = f"{row[1]} {row[2]}"
    rank, alarm_at = rows[0][4], max(row[5] for row in rows)
    db.execute(
        "UPDATE outbox SET params = ?, severity = ?, urgency = ?, alarm_at = ? WHERE notification_id = ?",
        (encode_params(tuple(sorted(params.items()))), _SEVERITIES[rank], rank, alarm_at, digest_id),
    )
    return True


def _free_singles(
    db: sqlite3.Connection, recipient_id: str, now: Instant, folding: Folding
) -> tuple[int, bool, Instant | None]:
    """Say how many texts of their own may go to this person now, and whether the day has room for none at all.

    Last, when the newest digest within the window went; None if none did.
    """
    lately, today, digest_at = db.execute(
        _LATELY, (now - folding.window, now - folding.window, recipient_id, now - DAY, now)
    ).fetchone()
    left = folding.per_day - today
    return max(0, min(folding.singles - lately, left)), left <= 0, digest_at


def _id(recipient_id: str, at: Instant) -> str:
    return f"{GATEWAY}.digest.{recipient_id}.{at}"
