"""The homes of an engine, by id. After a restart most of them sleep, as the rows that the store has of them.

Making a hundred thousand homes of their rows takes ten seconds; a start that waits for that is blind for as long. What
is known of a home without making it is when it next wants to be looked at, and until when it is seen. It is made when
somebody asks for it: a reading of its own, its deadline, a person, a change that concerns it.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sensor_guard.engine.home import Home
from sensor_guard.engine.plan import HomePlan
from sensor_guard.model import Instant


class Sleeper(NamedTuple):
    """A home that sleeps; one with alarms never does.

    ``row``: its state as text; ``wakes_at``: what ``Home.wake_at`` says of it; ``seen_until``: ``Home.seen_until``.
    ``blind``: the stretch that it has slept through in which the box saw nothing; its row does not know of it.
    """

    plan: HomePlan
    row: str
    wakes_at: Instant
    seen_until: Instant
    blind: tuple[Instant, Instant] | None = None


class Homes:
    """See the module. The order is that in which they came, asleep or not."""

    __slots__ = ("_all", "_woken", "wake")

    def __init__(self, woken: Callable[[str, Home, Sleeper], None]) -> None:
        self._all: dict[str, Home | Sleeper] = {}
        self._woken = woken  # told of everybody who was woken
        self.wake: Callable[[Sleeper], Home] = _nobody
        """Makes a home of its row, under the rules that are in force. Set by whoever puts homes to sleep."""

    def get(self, home_id: str) -> Home | None:
        """Give a home, awake; None where there is none of this id."""
        home = self._all.get(home_id)
        return self._waken(home_id, home) if home.__class__ is Sleeper else home  # type: ignore[return-value]

    def __getitem__(self, home_id: str) -> Home:
        """Give a home, awake."""
        home = self.get(home_id)
        if home is None:
            raise KeyError(home_id)
        return home

    def __setitem__(self, home_id: str, home: Home) -> None:
        """Take a home in, or in the place of another."""
        self._all[home_id] = home

    def __delitem__(self, home_id: str) -> None:
        """Let a home go, asleep or not."""
        del self._all[home_id]

    def __contains__(self, home_id: object) -> bool:
        """Say whether there is a home of this id."""
        return home_id in self._all

    def __iter__(self) -> Iterator[str]:
        """Give the ids."""
        return iter(self._all)

    def __len__(self) -> int:
        """Count them, asleep or not."""
        return len(self._all)

    def items(self) -> Iterator[tuple[str, Home]]:
        """Wake every home, one after the other."""
        return ((home_id, self[home_id]) for home_id in list(self._all))

    def values(self) -> Iterator[Home]:
        """Wake every home, one after the other."""
        return (home for _, home in self.items())

    def clear(self) -> None:
        """Let all of them go."""
        self._all.clear()

    # -- without waking anybody -------------------------------------------------------------------------------------

    def put_to_sleep(self, home_id: str, sleeper: Sleeper) -> None:
        """Take a home in as its row."""
        self._all[home_id] = sleeper

    def sleep_through(self, home_id: str, start: Instant, end: Instant) -> bool:
        """Let a home sleep on though the box saw nothing from ``start`` to ``end``; False if it must be told awake.

        Where nothing falls due before the end, nothing can come of it: what is counted is counted on behind it.
        """
        home = self._all.get(home_id)
        if not isinstance(home, Sleeper) or home.blind is not None or home.wakes_at <= end:
            return False
        self._all[home_id] = home._replace(blind=(start, end))
        return True

    def as_they_are(self) -> Iterator[tuple[str, Home | Sleeper]]:
        """Give every home, awake or asleep."""
        return iter(self._all.items())

    def awake(self) -> Iterator[tuple[str, Home]]:
        """Give those that are awake: all that have alarms are among them."""
        return ((home_id, home) for home_id, home in self._all.items() if isinstance(home, Home))

    def sleeper(self, home_id: str) -> Sleeper | None:
        """Give a home that sleeps; None where there is none of this id, or it is awake."""
        home = self._all.get(home_id)
        return home if isinstance(home, Sleeper) else None

    def plan_of(self, home_id: str) -> HomePlan | None:
        """Give the plan that a home follows; None where there is no home of this id."""
        home = self._all.get(home_id)
        return None if home is None else home.plan

    def _waken(self, home_id: str, sleeper: Sleeper) -> Home:
        home = self._all[home_id] = self.wake(sleeper)
        self._woken(home_id, home, sleeper)
        return home


def _nobody(_sleeper: Sleeper) -> Home:
    raise AssertionError("nobody was put to sleep")
