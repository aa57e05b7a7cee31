"""All benchmarks in one run, and the page of their results.

    python -m benchmarks [--quick] [--only NAME ...] [--page benchmarks/RESULTS.md]

Each one runs in a process of its own, one after the other, on a machine that should have nothing else to do. What each
part gave last is kept in .cache, so that one of them can be run again alone; the page says of each when, at which
commit and beside which load it ran. Where an aim is missed, the page says by how much and why. ``--quick`` is for
trying the command out: small counts, nothing kept.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensor_guard.clock import SystemClock, format_at

Figures = dict[str, Any]
KEPT = Path(".cache/benchmarks.json")
LIMIT = 3_600
"""Seconds that one benchmark may take."""


@dataclass(frozen=True)
class Part:
    """One benchmark: ``full`` and ``quick`` are its arguments."""

    name: str
    title: str
    full: str = ""
    quick: str = ""

    def command(self, *, quick: bool) -> str:
        return f"python -m benchmarks.{self.name} {self.quick if quick else self.full}".strip()


@dataclass(frozen=True)
class Aim:
    """One figure that was promised. ``why``: what is known of the reason where it is missed."""

    what: str
    unit: str
    figure: Callable[[Figures], float]
    at_least: float | None = None
    at_most: float | None = None
    why: str = ""

    def is_met(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def limit(self) -> str:
        word, number = ("at least", self.at_least) if self.at_least is not None else ("at most", self.at_most)
        return f"{word} {number:g}{self.unit}"

    def verdict(self, value: float) -> str:
        if self.is_met(value):
            return "met"
        limit = self.at_least if self.at_least is not None else self.at_most
        assert limit
        factor = limit / value if self.at_least is not None else value / limit
        return f"**missed by a factor of {factor:.1f}**"


PARTS = (
    Part("line", "The whole line", "--count 60000 --rounds 3 --homes 1000 --json", "--count 5000 --rounds 1 --json"),
    Part(
        "panic",
        "Panic button to the provider's POST",
        "--panics 200 --rate 500 --backlog 500000 --json",
        "--panics 5 --backlog 20000 --homes 100 --json",
    ),
    Part("memory", "Memory", "--homes 1 100 1000 10000 100000 --json", "--homes 100 --json"),
    Part("start", "Start", "--homes 100000 --rounds 1 --json", "--homes 1000 --json"),
    Part("replay", "Replay", "--homes 1000 --json", "--homes 50 --days 0.5 --json"),
    Part("slow_disk", "A slow disk", "--fsync-ms 20 --json", "--count 5000 --rounds 1 --homes 100 --json"),
    Part("journal", "The journal alone"),
    Part("influx", "The copy in InfluxDB", "", "--points 50000"),
)

AIMS = (
    Aim("the whole line / a bare paho subscriber, readings/s", "", lambda f: f["line"]["ratios"]["bare paho"], 0.6),
    Aim(
        "CPU of the daemon for a million readings",
        " s",
        lambda f: f["line"]["cpu_per_million"]["sensor_guard"],
        at_most=25,
        why="the aim was set on a machine on which a bare paho subscriber takes 35 s (MQTT 5); the row below has the"
        " ratio on this one. What is left is spread over decoding, SQLite and the engine.",
    ),
    Aim(
        "the same / that of a bare paho subscriber",
        "",
        lambda f: f["line"]["cpu_per_million"]["sensor_guard"] / f["line"]["cpu_per_million"]["bare paho"],
        at_most=25 / 34.9,
    ),
    Aim(
        "panic to POST at 500 readings/s, median",
        " ms",
        lambda f: f["panic"]["beside_ms"]["p50"],
        at_most=2,
        why="the way has many steps, none of them long: broker 0.5 ms, reader and loop 0.4, commit 3.3 with one flush,"
        " wake-up of the sender 0.4, its text 0.5, Twilio's client and requests 1.3, connecting and sending 1.7, the"
        " stand-in's reading 1.1 (medians on a busy machine).",
    ),
    Aim(
        "panic to POST at 500 readings/s, p99",
        " ms",
        lambda f: f["panic"]["beside_ms"]["p99"],
        at_most=10,
        why="as above; besides, a press that comes while a batch is being committed waits for it (there is one writer),"
        " and SQLite's own checkpoint takes 30 to 40 ms about once in 250 commits.",
    ),
    Aim(
        "panic to POST while a backlog drains, p99",
        " ms",
        lambda f: f["panic"]["draining_ms"]["p99"],
        at_most=1_000,
    ),
    Aim("memory, idle", " MB", lambda f: f["memory"]["1"]["idle_mb"], at_most=70),
    Aim(
        "memory a home of 10,000, all sensors heard",
        " kB",
        lambda f: f["memory"]["10000"]["per_home_kb"],
        at_most=4,
        why="the engine's own share is in the part Replay; the rest is the configuration (labels, topics, the router),"
        " the journal's caches and the allocator.",
    ),
    Aim(
        "memory a home of 100,000, all sensors heard",
        " kB",
        lambda f: f["memory"]["100000"]["per_home_kb"],
        at_most=4,
        why="as above.",
    ),
    Aim(
        "start with 100,000 homes and a pending timer in each, to the first reading",
        " s",
        lambda f: f["start"]["again"]["reading_s"],
        at_most=3,
        why="homes sleep until something concerns them; what is left is the files, the rows' headers, and the"
        " subscription to 200,000 topics. It was 19 CPU seconds for the states of the homes alone.",
    ),
    Aim(
        "replay without the store, 1,000 homes",
        " virtual days/s",
        lambda f: f["replay"]["without store: virtual days/s"],
        1,
        why="a reading costs some microseconds in this engine, and a day of 1,000 homes is 814,000 readings.",
    ),
    Aim(
        "replay with the store, 1,000 homes",
        " virtual days/s",
        lambda f: f["replay"]["with store: virtual days/s"],
        0.25,
        why="decoding, the journal's index of readings and the engine, each some microseconds a reading.",
    ),
    Aim(
        "a timer re-armed, 100,000 homes (with the reading that does it)",
        " us",
        lambda f: f["replay"]["timer re-armed in us"],
        at_most=5,
        why="it includes taking a whole reading, which is most of it.",
    ),
    Aim("the whole line with a flush that takes 20 ms longer", " readings/s", lambda f: f["slow_disk"]["slow"], 3_000),
)


def main(arguments: list[str] | None = None) -> int:
    """Run, and write the page; 1 if a benchmark fails. A missed aim is told, and is no failure of the command."""
    options = _options(arguments)
    parts = [part for part in PARTS if not options.only or part.name in options.only]
    kept: Figures = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() and not options.quick else {}
    failed = []
    for number, part in enumerate([] if options.kept else parts, 1):
        command = part.command(quick=options.quick)
        print(f"[{number}/{len(parts)}] {command}", file=sys.stderr, flush=True)
        began, load = time.monotonic(), os.getloadavg()[0]
        done = _run(command)
        print(done.stdout, flush=True)
        if done.returncode:
            failed.append(part.name)
            print(done.stderr[-3_000:], file=sys.stderr)
            continue
        lines = done.stdout.splitlines()
        figures = json.loads(lines.pop()) if lines and lines[-1].startswith("{") else {}
        kept[part.name] = {
            "command": command,
            "figures": figures,
            "said": "\n".join(lines),
            "at": format_at(SystemClock().now()),
            "commit": _output("git", "rev-parse", "--short=12", "HEAD"),
            "load": load,
            "seconds": round(time.monotonic() - began),
        }
        if not options.quick:
            KEPT.parent.mkdir(exist_ok=True)
            KEPT.write_text(json.dumps(kept), encoding="utf-8")
        print(f"    {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    if options.page:
        options.page.write_text(_page(kept), encoding="utf-8")
    print(_table({name: one["figures"] for name, one in kept.items()}))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="small counts, to try it out")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], help="these alone")
    parser.add_argument("--page", type=Path, help="write the page of results here")
    parser.add_argument("--kept", action="store_true", help="run nothing: only the page, of what is kept")
    return parser.parse_args(arguments)


def _run(command: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, *shlex.split(command)[1:]]
    return subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, check=False, stdin=subprocess.DEVNULL)


def _output(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or [words[0]])[0].strip()


def _page(kept: Figures) -> str:
    figures = {name: one["figures"] for name, one in kept.items()}
    lines = [
        "# Results",
        "",
        f"Written by `python -m benchmarks --page benchmarks/RESULTS.md`. {os.cpu_count()} cores, {platform.system()}"
        f" {platform.machine()}, Python {platform.python_version()}, {_output('mosquitto_sub', '--version')}; broker,"
        " provider and database on loopback of the same machine, no TLS. Ratios count more than figures: other machines"
        " have others. Each part says when it ran, at which commit, and what load the machine had before it.",
        "",
        "## Aims",
        "",
        _table(figures),
        "",
    ]
    lines += [f"* **{aim.what}**: {aim.why}" for aim, value in _judged(figures) if not aim.is_met(value) and aim.why]
    for part in PARTS:
        if part.name in kept:
            one = kept[part.name]
            lines += ["", f"## {part.title}", "", f"    {one['command']}", ""]
            lines += [f"{one['at']}, commit {one['commit']}, {one['seconds']} s, load {one['load']:.1f} before it:", ""]
            lines += ["```", one["said"], "```"]
    return "\n".join(lines) + "\n"


def _judged(figures: dict[str, Figures]) -> list[tuple[Aim, float]]:
    judged = []
    for aim in AIMS:
        try:
            judged.append((aim, float(aim.figure(figures))))
        except (KeyError, TypeError):
            continue  # that benchmark was not run
    return judged


def _table(figures: dict[str, Figures]) -> str:
    lines = ["| What | Measured | Aim | |", "|---|---|---|---|"]
    for aim, value in _judged(figures):
        shown = f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"
        lines.append(f"| {aim.what} | {shown}{aim.unit} | {aim.limit()} | {aim.verdict(value)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
