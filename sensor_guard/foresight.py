"""What would follow from what the disk has not taken yet: decided on a copy of the homes concerned.

The engine itself is never fed with what is not stored behind everything that was fed before. So that a call for help
is heard all the same, a copy of the homes is fed with the very turns that wait, in their order and with their times.
The engine is deterministic: when the turns are committed at last, it comes to the same alarms and the same texts, with
the same ids. The copy is thrown away then; nothing of it is ever stored.
"""

import json
from collections.abc import Iterable, Sequence, Set

from sensor_guard.core import Core
from sensor_guard.engine import elsewhen, snapshot
from sensor_guard.engine.engine import Engine
from sensor_guard.model import (
    GATEWAY,
    ClockKnown,
    ClockStepped,
    Command,
    DeliveryReport,
    Effects,
    Input,
    Instant,
    Message,
    Notification,
    Reading,
)
from sensor_guard.turn import Turn

_FIRST_NUMBER = 1 << 50
"""Beyond every number of the journal; within the copy only their order counts."""


class Foresight:
    """The copy. ``texts``: every text that would be sent, by id, in order; those called back again are not in it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._copy: Engine | None = None
        self._next = _FIRST_NUMBER
        self._seen = 0
        self._clock_news: list[tuple[Turn, ClockStepped | ClockKnown]] = []  # since the copy was begun
        self.texts: dict[str, Notification] = {}
        self.called_back: set[str] = set()

    def follow(self, waiting: Sequence[Turn], now: Instant) -> bool:
        """Feed what has joined ``waiting`` since the last call, and then the time.

        True if time alone has caused something: then the caller lets a turn without events join, so that the engine
        will be fed at that moment as well. To the copy it is no news when its turn comes.
        """
        copy = self._copy = self._copy or self._begin()
        new = waiting[self._seen :]
        self._seen = len(waiting)
        for turn in new:
            if turn.effects is not None:  # the engine has it, and so has the copy
                self._take(turn.effects)
                continue
            inputs = list(self._inputs_of(turn))
            self._add_homes(copy, _homes_of(inputs))
            self._clock_news += [(turn, item) for item in inputs if isinstance(item, ClockStepped | ClockKnown)]
            numbered = [(self._next + n, item) for n, item in enumerate(inputs)]
            self._next += len(inputs)
            known = set(copy.homes)
            self._take(copy.feed(numbered, turn.now))
            if turn.plan is not None:
                self._forget_begun(copy, known)
        effects = copy.feed([], now)
        self._take(effects)
        return bool(effects)

    def _begin(self) -> Engine:
        engine = self._core.engine
        copy = Engine(self._core.plan_of)
        snapshot.restore(copy, _copied(snapshot.save_link(engine)), {})
        asking = [home_id for home_id, home in engine.homes.awake() if home.cases.open_by_rule]
        self._add_homes(copy, [GATEWAY, *asking])
        return copy

    def _add_homes(self, copy: Engine, home_ids: Iterable[str]) -> None:
        engine = self._core.engine
        wanted = [home_id for home_id in home_ids if home_id in engine.homes and home_id not in copy.homes]
        for home_id in wanted:
            home = engine.homes[home_id]
            copied = copy.homes[home_id] = snapshot.load_home(copy, home.plan, _copied(snapshot.save_home(home)))
            effects = Effects()
            for turn, item in self._clock_news:  # it comes late: the copy's other homes were told at the time
                if turn.effects is not None:
                    continue  # the engine was fed with it since, and this home has it from there
                if isinstance(item, ClockStepped):
                    elsewhen.shift(copied, item.offset)
                else:
                    elsewhen.know_clock(copied, item.known, copy.now, effects)
            self._take(effects)
        if wanted:
            copy.schedule_all()

    def _forget_begun(self, copy: Engine, known: Set[str]) -> None:
        """Let go of homes that a change of plan has begun anew in the copy, and that the engine knows.

        It knows who is away, muted or in a test; they are copied when something happens there.
        """
        begun = [home_id for home_id in copy.homes if home_id not in known and home_id in self._core.engine.homes]
        for home_id in begun:
            del copy.homes[home_id]
        copy.schedule_all()

    def _inputs_of(self, turn: Turn) -> Iterable[Input]:
        was_committed = self._core.journal.was_committed
        for place, item in enumerate(turn.items):
            if isinstance(item, Message):
                lane = "urgent" if item.urgent else "bulk"
                if not (item.duplicate and was_committed(lane, item.packet_id, item.payload)):
                    yield from turn.readings_of[place]
            elif not isinstance(item, DeliveryReport):  # only the outbox can say which of them count
                yield item

    def _take(self, effects: Effects) -> None:
        for text in effects.notifications:
            self.texts[text.notification_id] = text
        for notification_id in effects.cancelled:
            self.called_back.add(notification_id)
            self.texts.pop(notification_id, None)


def _homes_of(inputs: Iterable[Input]) -> list[str]:
    homes = []
    for item in inputs:
        if isinstance(item, Reading):
            homes.append(item.home_id)
        elif isinstance(item, Command):
            homes.append(item.target_id.partition(".")[0])
    return homes


def _copied(row: snapshot.Row) -> snapshot.Row:
    copied: snapshot.Row = json.loads(json.dumps(row))
    return copied
