# ruff: noqa: PERF401, PLR0917
"""What goes wrong in a world and when, drawn from the seed before it begins: a list of happenings in order of time.

Every draw comes from a stream of its own, so that a world without the crashes has everything else as it was.
"""

import random
from dataclasses import dataclass, field

from sensor_guard.model import DAY, HOUR, MINUTE, SECOND, Instant, Span

CRASH_POINTS = ("idle", "before_commit", "after_commit", "before_post", "after_post")
CALM_FOR: Span = 8 * HOUR
"""At the end of every world nothing goes wrong for so long, so that what is owed can be paid."""

HOMES = {("h1",): 0.3, ("h2",): 0.2, ("h1", "h2"): 0.3, ("h1", "h2", "h3"): 0.2}
"""Who lives in a world, and how often: a world costs by the home, and most of what goes wrong needs but one."""


@dataclass(frozen=True, slots=True)
class Happening:
    """``kind`` names a method of the world; ``detail`` is its argument; ``lasts``: how long."""

    at: Instant
    kind: str
    detail: str = ""
    lasts: Span = 0


@dataclass
class Script:
    """``is_exact``: nothing is lost and no clock is set, so that the oracle knows every alarm to the millisecond."""

    home_ids: tuple[str, ...]
    happenings: list[Happening] = field(default_factory=list)
    sms_rates: dict[str, float] = field(default_factory=dict)
    fates: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    never_answers: float = 0.15
    steps_clock: bool = False
    loses: bool = False
    best_effort: str = ""
    """The home whose devices publish with QoS 0, but for smoke and button; "" none."""
    retains: bool = False
    """Devices leave their last word with the broker."""
    has_second_channel: bool = False


def write(seed: int, start: Instant, days: int) -> Script:
    """Draw a world."""
    rng = random.Random(f"{seed}:profile")
    end = start + days * DAY - CALM_FOR
    script = Script(rng.choices(list(HOMES), list(HOMES.values()))[0])
    script.steps_clock = rng.random() < 0.2
    script.loses = not script.steps_clock and rng.random() < 0.4
    found = script.happenings
    found += _crashes(random.Random(f"{seed}:crashes"), start, end)
    if not script.steps_clock:
        found += _links(random.Random(f"{seed}:links"), start, end, loses=script.loses)
    else:
        found += _steps(random.Random(f"{seed}:steps"), start, end)
    found += _windows(
        random.Random(f"{seed}:disk"), start, end, "disk", ("full", "busy", "io", "io_commit", "read_only"), 2, HOUR
    )
    found += _windows(random.Random(f"{seed}:influx"), start, end, "influx",
                      ("outage", "partial", "server_error", "misconfigured", "small"), 2, 20 * HOUR)  # fmt: skip
    found += _windows(random.Random(f"{seed}:smsdown"), start, end, "sms", ("down", "refused"), 2, 10 * HOUR)
    found += _people(random.Random(f"{seed}:orders"), start, end, script)
    rates = random.Random(f"{seed}:rates")
    for fault in ("lost_reply", "500_after_accept", "500", "503", "429", "login_page"):
        if rates.random() < 0.5:
            script.sms_rates[fault] = rates.uniform(0.02, 0.2)
    script.never_answers = rates.choice((0.0, 0.1, 0.3))
    for number in ("+8613800000002", "+8613800000003"):
        if rates.random() < 0.2:
            script.fates[number] = rates.choice((("undelivered", 30003), ("failed", 30005), ("sent", None)))
    habits = random.Random(f"{seed}:habits")
    # A world that is run beside without its kills has no QoS 0: what comes while nobody is there is lost.
    if habits.random() < 0.25 and seed % 16:
        script.best_effort = habits.choice([home_id for home_id in script.home_ids if home_id != "h3"])
    script.retains = habits.random() < 0.5
    script.has_second_channel = habits.random() < 0.3
    if script.loses:
        found += _power_cuts(random.Random(f"{seed}:power"), start, end)
    if script.steps_clock and seed % 8 and not any(one.kind == "mute" for one in found):
        found += _boot_1970(random.Random(f"{seed}:1970"), start, end, [one.at for one in found])
    found.sort(key=lambda one: one.at)
    return script


def _crashes(rng: random.Random, start: Instant, end: Instant) -> list[Happening]:
    found = []
    for _ in range(rng.choice((0, 1, 2, 3, 5))):
        at = rng.randrange(start + HOUR, end)
        found.append(Happening(at, "crash", rng.choice(CRASH_POINTS), rng.choice((200, 2 * SECOND, 20 * SECOND))))
    return found


def _links(rng: random.Random, start: Instant, end: Instant, *, loses: bool) -> list[Happening]:
    kinds = ["cut", "half_open", "broker_restart"]
    if loses:
        kinds += ["broker_kill", "session_expires", "broker_drops"]
    found = []
    at = start + HOUR
    for _ in range(rng.choice((0, 1, 2, 3))):
        at += rng.randrange(HOUR, 2 * DAY)
        lasts = rng.choice((SECOND, 20 * SECOND, 3 * MINUTE, 40 * MINUTE, 5 * HOUR))
        if at + lasts < end:
            found.append(Happening(at, "link", rng.choice(kinds), lasts))
        at += lasts + HOUR
    return found


def _power_cuts(rng: random.Random, start: Instant, end: Instant) -> list[Happening]:
    """Box and broker go together; of what the broker held there is what its last autosave had written."""
    found = []
    for _ in range(rng.choice((0, 1, 1, 2))):
        lasts = rng.choice((5 * SECOND, 40 * SECOND, 10 * MINUTE))
        kept = rng.choice(("nothing", "sessions"))
        found.append(Happening(rng.randrange(start + HOUR, end), "power_cut", kept, lasts))
    return found


def _boot_1970(rng: random.Random, start: Instant, end: Instant, busy: list[Instant]) -> list[Happening]:
    """A box without a clock of its own starts in 1970; ``detail``: how long until NTP sets its clock, in ms.

    While nobody knows the time devices have none either, and what comes twice then comes as new: nothing else goes
    wrong in these minutes, or the oracle would know no alarm for certain.
    """
    at = rng.randrange(start + HOUR, end - HOUR)
    if rng.random() < 0.4 or any(at - 2 * HOUR < other < at + 2 * HOUR for other in busy):
        return []
    wait = rng.choice((20 * SECOND, 5 * MINUTE, 12 * MINUTE))
    return [Happening(at, "boot_1970", str(wait), rng.choice((5 * SECOND, 40 * SECOND, 5 * MINUTE)))]


def _steps(rng: random.Random, start: Instant, end: Instant) -> list[Happening]:
    found = []
    for _ in range(rng.choice((1, 2, 3))):
        offset = rng.choice((2 * HOUR, -2 * HOUR, 30 * DAY, -30 * DAY, 30 * SECOND, -3 * SECOND, 1_500))
        found.append(Happening(rng.randrange(start + 2 * HOUR, end), "step", str(offset)))
    return found


def _windows(
    rng: random.Random, start: Instant, end: Instant, kind: str, modes: tuple[str, ...], most: int, longest: Span
) -> list[Happening]:
    found = []
    at = start
    for _ in range(rng.randrange(most + 1)):
        at += rng.randrange(HOUR, 3 * DAY)
        lasts = round(longest * 2 ** -rng.uniform(0, 8))
        if at + lasts < end:
            found.append(Happening(at, kind, rng.choice(modes), lasts))
        at += lasts
    return found


def _people(rng: random.Random, start: Instant, end: Instant, script: Script) -> list[Happening]:
    found = []
    for home_id in script.home_ids:
        kinds = ["mute", "mute_critical", "reload"]
        if not script.steps_clock:
            kinds += ["away", "away", "test"]
        for kind in kinds:
            if rng.random() < 0.25:
                lasts = {"away": rng.randrange(4 * HOUR, 40 * HOUR), "test": 30 * MINUTE}.get(kind, 10 * HOUR)
                found.append(Happening(rng.randrange(start + HOUR, end), kind, home_id, lasts))
    for _ in range(rng.choice((0, 0, 1, 2))):
        found.append(Happening(rng.randrange(start + HOUR, end), "stop", "", rng.choice((5 * SECOND, 20 * SECOND))))
    for _ in range(rng.choice((0, 3))):
        found.append(Happening(rng.randrange(start + HOUR, end), "garbage", str(rng.randrange(1 << 30))))
    for _ in range(rng.choice((0, 0, 1))):
        home_id = rng.choice(script.home_ids)
        sensor_id = rng.choice(("power", "motion_living", "water", "door"))
        found.append(
            Happening(
                rng.randrange(start + DAY, end),
                "dead_sensor",
                f"{home_id}/{sensor_id}",
                rng.randrange(3 * HOUR, 40 * HOUR),
            )
        )
    return found
