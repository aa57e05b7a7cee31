"""The report of a run, as plain Markdown: what was done, what was counted, what did not hold."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from sensor_guard import __version__
from tests.faults.failpoints import FAILPOINTS
from tests.faults.load import BEHIND_LIMIT, BRAKED_RATE
from tests.faults.scenarios import SCENARIOS, Result

ROOT = Path(__file__).resolve().parents[2]
HEAD = """\
# Faults

Written by `make faults`; see the package `tests/faults/` for what each row does. The daemon, mosquitto and the
publisher are real processes on loopback; the SMS provider is a strict stand-in over HTTP; InfluxDB is real. The
clock runs {factor:g} times as fast (holds, waits for the provider's list); network time-outs and back-off are real.

- acknowledged: readings for which the publisher has had its PUBACK. It publishes at the rates that stand beside them,
  drawn anew after each thousand readings, and at {braked} a second while the daemon is more than {behind:,} behind.
- lost: of these, not in the journal at the end. Only a broker that was killed, or whose store was deleted, may lose.
  "noticed": each of them lies in a stretch that the journal itself calls blind.
- twice: in the journal more than once. Allowed only for readings without a device's time of which the broker or the
  publisher, after a restart of the broker, has sent a second copy.
- phantoms: in the journal, and never published.
- alarms: expected by construction of the stream, and found; each exactly once. Texts: expected of these alarms, and
  those that the provider got twice.
- slowest reconnect: from the broker's answering on. Ten seconds are allowed, and more in proportion while the machine
  has more work than processors.

What this cannot find: a commit without fsync, because a killed process leaves its writes in the kernel's cache.
"""


def write(results: Sequence[Result], mutants: Sequence[tuple[str, str, bool, float]], *, seed: int, size: str) -> str:
    """Write the report.

    Args:
        results: of the scenarios, in their order.
        mutants: (mutation, invariant that fell, whether it is what it should be, seconds).
        seed: of every random choice.
        size: "full" or "short".
    """
    from tests.faults.box import FACTOR  # noqa: PLC0415 - a box needs mosquitto's parts, a reader of reports does not

    claims = {scenario.name: scenario.claims for scenario in SCENARIOS}
    lines = [
        HEAD.format(factor=FACTOR, braked=BRAKED_RATE, behind=BEHIND_LIMIT),
        f"Version {__version__} (`git rev-parse HEAD:sensor_guard` is {_tree()}), {size} run, seed {seed}.",
        "",
    ]
    lines += [
        "| scenario | trials | kills of daemon / broker, restarts | acknowledged | rates, 1/s | lost (noticed) |"
        " twice (allowed) | phantoms | alarms expected / found | texts / twice | slowest reconnect, s | took, s"
        " | result |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in results:
        verdict, tally = each.verdict, each.tally
        slowest = f"{max(tally.reconnects):.1f}" if tally.reconnects else ""
        lines.append(
            f"| {each.name}: {claims.get(each.name, '')} | {tally.trials}"
            f" | {tally.daemon_kills} / {tally.broker_kills}, {tally.broker_restarts}"
            f" | {verdict.acknowledged:,} | {_rates(each)} | {verdict.lost:,} ({verdict.lost_noticed:,})"
            f" | {verdict.duplicated} ({verdict.duplicates_allowed}) | {verdict.phantoms}"
            f" | {verdict.alarms_expected} / {verdict.alarms_found}"
            f" | {verdict.texts_expected} / {verdict.texts_twice}"
            f" | {slowest} | {each.seconds:.0f} | {'green' if verdict.is_green else 'RED'} |"
        )
    hits: dict[str, int] = {}
    for each in results:
        for name, count in each.tally.hits.items():
            hits[name] = hits.get(name, 0) + count
    if hits:
        lines += ["", "## Failpoints", "", "| place | kills there |", "|---|---|"]
        lines += [f"| `{name}` | {hits.get(name, 0)} |" for name in FAILPOINTS]
    if mutants:
        lines += ["", "## Mistakes that must be found", "", "| mistake | invariant that falls | found | took, s |"]
        lines += ["|---|---|---|---|"]
        lines += [
            f"| `{name}` | {invariant} | {'yes' if found else 'NO'} | {seconds:.0f} |"
            for name, invariant, found, seconds in mutants
        ]
    red = [each for each in results if not each.verdict.is_green]
    if red:
        lines += ["", "## What did not hold", ""]
        lines += [f"- {each.name}: {each.verdict.words()}".replace("\n", "\n  ") for each in red]
    return "\n".join(lines) + "\n"


def _rates(result: Result) -> str:
    lowest, highest = min(result.rates, default=0), max(result.rates, default=0)
    return f"{lowest:,}" if lowest == highest else f"{lowest:,} to {highest:,}"


def _tree() -> str:
    """Name the state of the program itself, whatever is committed beside it."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD:sensor_guard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
