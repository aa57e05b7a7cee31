"""The harness proves itself: each mistake, what is done to a box that has it, and the invariant that must fall.

The same is done to a box without the mistake in the full run, and must be green.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.fakes.twilio import LOSE_REPLY, RESET
from tests.faults.box import Box, Setup
from tests.faults.load import Load
from tests.faults.processes import Execs, Forks
from tests.faults.scenarios import Result, run_in
from tests.faults.verdict import Invariant

LOAD = Load(homes=6, rates=(500,), incident_every=150)


@dataclass(frozen=True)
class Mutant:
    """A row. ``falls``: the invariant that must be named."""

    mutation: str
    falls: Invariant
    act: Callable[[Box], None]
    load: Load = LOAD
    hurry: dict[str, int] = field(default_factory=dict)
    is_made: bool = True

    def control(self) -> "Mutant":
        """Give the same without the mistake."""
        return replace(self, load=replace(self.load, qos=1), is_made=False)

    def setup(self) -> Setup:
        if not self.is_made:
            return Setup(self.load, hurry=self.hurry)
        # What is missing is waited for in vain: not for long. A box without the mistake may be slow.
        return Setup(
            self.load,
            hurry=self.hurry,
            mutation=self.mutation,
            settle_within=4.0,
            reconnect_within=4.0,
            quiet_for=1.5,
        )

    @property
    def name(self) -> str:
        """Of the row, as every row has one."""
        return self.mutation if self.is_made else f"{self.mutation} (control)"


def run(mutant: Mutant, seed: int, starter: Execs | Forks) -> Result:
    """Do it."""
    return run_in(mutant.setup(), mutant.act, mutant.name, seed, starter)


def _begin(box: Box, count: int = 200) -> None:
    box.start_daemon()
    box.wait_up()
    box.start_load()
    box.wait_acknowledged(count)


def _trapped(failpoint: str, hit: int = 2, pause: float = 0.0) -> Callable[[Box], None]:
    """It kills itself there once, under load, and is started again."""

    def act(box: Box) -> None:
        box.start_daemon()
        box.wait_up()  # the broker has a session for it
        box.kill_daemon()
        box.start_load()
        if not box.spring(failpoint, hit, pause=pause):
            box.wrong(Invariant.FAILPOINT_REACHED, failpoint)
        box.start_daemon()
        box.wait_up()

    return act


def _killed(pause: float) -> Callable[[Box], None]:
    def act(box: Box) -> None:
        _begin(box)
        box.kill_daemon()
        box.pause(pause)
        box.start_daemon()
        box.wait_up()

    return act


def _provider_drops(box: Box) -> None:
    box.twilio.script([LOSE_REPLY] * 3)
    _begin(box, 500)


def _provider_resets(box: Box) -> None:
    box.twilio.script([RESET] * 3)
    _begin(box, 500)


def _broker_restarts(box: Box) -> None:
    _begin(box)
    box.restart_broker()


def _broker_dies(box: Box) -> None:
    _begin(box)
    box.kill_daemon()
    box.pause(0.3)
    box.kill_broker()
    box.start_daemon()
    box.broker_back()
    box.wait_up()


def _runs(box: Box) -> None:
    _begin(box, 500)


MUTANTS: tuple[Mutant, ...] = (
    # What was acknowledged has time to get out before the process dies.
    Mutant("ack_before_commit", Invariant.NO_ACKED_READING_LOST, _trapped("before_commit", pause=1.0)),
    Mutant("auto_ack", Invariant.NO_ACKED_READING_LOST, _trapped("before_commit", pause=1.0)),
    Mutant("qos_2", Invariant.NO_ACKED_READING_LOST, _trapped("before_commit", pause=1.0), replace(LOAD, qos=2)),
    Mutant("default_clean_start", Invariant.NO_ACKED_READING_LOST, _killed(0.5)),
    Mutant("no_dedupe", Invariant.NO_READING_TWICE, _trapped("before_ack")),
    Mutant("one_made_up", Invariant.NO_PHANTOM, _runs),
    Mutant("alarm_twice", Invariant.EVERY_ALARM_ONCE, _runs),
    Mutant("sent_again_at_once", Invariant.NO_TEXT_TWICE, _provider_drops),
    Mutant("never_sent_again", Invariant.EVERY_TEXT_AT_LEAST_ONCE, _provider_resets),
    Mutant("sent_before_commit", Invariant.NO_TEXT_TWICE, _trapped("before_lease_commit", 1, pause=1.2)),
    Mutant("outbox_apart", Invariant.EVERY_TEXT_AT_LEAST_ONCE, _trapped("after_alarm_commit", 1)),
    # The meters' next words, which disprove, wait in the broker while the process is away.
    # Ten virtual minutes are ten seconds: a publisher that a busy machine holds up for that long would be a cause.
    Mutant("link_lost_unsaid", Invariant.NO_ALARM_WITHOUT_CAUSE, _killed(14.0), replace(LOAD, unused_for="10m")),
    Mutant("loss_unsaid", Invariant.LOSS_IS_NOTICED, _broker_dies),
    Mutant("dead_thread", Invariant.THREADS_ALIVE, _broker_restarts),
    Mutant("slow_reconnect", Invariant.RECONNECTED, _broker_restarts),
)
