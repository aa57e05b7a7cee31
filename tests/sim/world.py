"""One world: the production program between a simulated broker, disk, provider, history, people and clock.

Event-driven: time jumps to the next thing that happens or is due. At each instant the parts that have something to do
are turned one step at a time, in an order drawn from the seed, as threads would be.
"""

import heapq
import json
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sensor_guard import core, parts, room
from sensor_guard.beginning import begin
from sensor_guard.clock import Synchrony
from sensor_guard.config import Config, WrittenPlan
from sensor_guard.core import Core
from sensor_guard.decode import Router
from sensor_guard.decode.times import EARLIEST
from sensor_guard.errors import JournalError
from sensor_guard.health import Counters, Heartbeats
from sensor_guard.inbox import Event, Inbox, NewPlan, Request
from sensor_guard.journal import Journal, JournalUnavailableError
from sensor_guard.line import Line
from sensor_guard.model import DAY, HOUR, MINUTE, SECOND, Alarm, AlarmOutcome, Command, CommandKind, Instant, Span
from sensor_guard.mqtt import Access, Before, Subscriber, Topics, lane
from sensor_guard.mqtt.link import Link, LinkEvent
from sensor_guard.notify.outcome import Reason
from sensor_guard.notify.worker import IDLE_LIMIT
from sensor_guard.room import Room
from sensor_guard.standing import Standing
from tests.sim.broker import Broker, Packet, SimConnection
from tests.sim.clock import SimClock
from tests.sim.disk import PAGE, Disk
from tests.sim.provider import SimNotifier, SimSecondChannel, SimSink
from tests.sim.residents import Word, payload
from tests.sim.script import CALM_FOR, Happening, Script

FAR = 1 << 60
LOG_LIMIT = 400
"""Last events kept for the report of a failing seed."""
MUTED_RULE = "water_none"


class Crash(BaseException):
    """The process is gone between two statements. Nobody may catch it, as nobody can catch a kill."""


class Settings(NamedTuple):
    """How a world is run. ``crashes``: with those of the script; ``linger``: longest wait of the loop for company;
    ``tick``: the loop turns at least so often."""

    crashes: bool = True
    linger: Span = 100
    tick: Span = DAY


class Asked(NamedTuple):
    """A command of a person and what came of it; ``answer`` None: taken."""

    command: Command
    answer: object


class SimInbox(Inbox):
    """The real one; whoever puts wakes the loop."""

    def __init__(self, wake: Callable[[bool], None]) -> None:
        super().__init__(linger=0)
        self._wake_loop = wake

    def take(self, _timeout: float) -> list[Event]:
        return super().take(0)

    def take_small(self, _timeout: float) -> list[Event]:
        return super().take_small(0)

    def _keep_company(self) -> None:
        """The world draws how long a message waits for others."""

    def put(self, event: Event, *, urgent: bool = False) -> bool:
        taken = super().put(event, urgent=urgent)
        self._wake_loop(urgent)
        return taken


class World:
    """See the module. ``run`` it, then look at what it has left: the journal's file, the provider, ``acked``."""

    def __init__(
        self, seed: int, config: Config, script: Script, spoken: list[Word], *, start: Instant, days: int,
        settings: Settings,
    ) -> None:  # fmt: skip
        self.seed, self.config, self.script, self.settings = seed, config, script, settings
        self.start, self.end = start, start + days * DAY
        self.plan = config.plan
        self.written = WrittenPlan.of(config.plan)
        self.is_synchronised: bool | None = True
        self._stood_still = False
        self.clock = SimClock(start)
        self.faults: Counter[str] = Counter()
        self.log: list[tuple[Instant, str]] = []
        self.words = {word.uid: word for word in spoken}
        self.said_at: dict[int, Instant] = {}  # uid -> what the device's clock said
        self.published: set[int] = set()
        self.acked: set[int] = set()
        self.asked: list[Asked] = []
        self.outages: dict[str, list[tuple[Instant, Instant]]] = {}
        self.downs: list[tuple[Instant, Instant]] = []  # when the daemon was not running, or stood still
        self.raised_exceptions: list[str] = []
        self.turns = 0
        self._order = random.Random(f"{seed}:order:{settings}")
        self._heap: list[tuple[Instant, int, Callable[[], None]]] = []
        self._count = 0
        self._due: dict[str, Instant] = {}
        self._frozen_until: Instant = 0
        self._armed = ""
        self._crash_lasts: Span = 0
        self._is_torn = False
        self._set_after: Span = 0  # a start in 1970: so long after it the clock is set
        self.uncounted: list[tuple[Instant, Instant]] = []
        """Stretches of which the box cannot know how long they were, and which it does not count; true times."""
        self._command_times: list[Instant] = []
        self._known_alarms: set[str] = set()
        self._raised_total = 0
        self._is_alive = False
        self._dead_sensors: dict[str, Instant] = {}
        self._busy_times = sorted(word.at for word in spoken)
        path = config.settings.journal.path
        self.disk = Disk(path, self._failpoint, self.count_fault)
        self.broker = Broker(lambda: self.clock.true, self._was_acked)
        self.broker.told = self.count_fault
        self.second = SimSecondChannel(lambda: self.clock.true, self.count_fault)
        self.notifier = SimNotifier(seed, lambda: self.clock.true, self._failpoint, self.count_fault)
        self.notifier.rates = script.sms_rates
        self.notifier.twilio.fates = dict(script.fates)
        self.sink = SimSink(self.count_fault)
        self.sink.poisoned = lambda row: row[0] % 997 == 500
        for word in spoken:
            self.at(word.at, lambda word=word: self._says(word))
        for happening in script.happenings:
            if happening.kind != "crash" or settings.crashes:
                self.at(happening.at, lambda one=happening: getattr(self, f"_do_{one.kind}")(one))
        self.at(self.end - CALM_FOR, self._calm)

    # -- running --------------------------------------------------------------------------------------------------

    def at(self, when: Instant, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, do))

    def note(self, text: str) -> None:
        self.log.append((self.clock.true, text))
        if len(self.log) > 2 * LOG_LIMIT:
            del self.log[:LOG_LIMIT]

    def count_fault(self, name: str) -> None:
        self.faults[name] += 1

    def run(self) -> None:
        """Run to the end; the journal is left open for the checks, ``remove`` ends it."""
        with _sim_parts(self):
            self._boot()
            self._advance(self.end)

    def remove(self) -> None:
        self.disk.remove()

    def _advance(self, until: Instant, without: str = "") -> None:
        clock, heap = self.clock, self._heap
        while True:
            soonest = FAR
            if self._is_alive:
                soonest = max(self._frozen_until, min(at for name, at in self._due.items() if name != without))
            first = heap[0][0] if heap else FAR
            at = min(first, soonest)
            if at > until:
                clock.true = max(clock.true, until)
                return
            clock.true = max(clock.true, at)
            try:
                if first <= clock.true:
                    heapq.heappop(heap)[2]()
                    continue
                ready = [name for name, at in self._due.items() if at <= clock.true and name != without]
                self._step(ready[0] if len(ready) == 1 else self._order.choice(sorted(ready)))
            except Crash:
                if without:
                    raise  # the loop is in the middle of its turn: it goes down with the rest
                self._die()

    def _step(self, name: str) -> None:
        true = self.clock.true
        self._due[name] = FAR
        try:
            wait = getattr(self, f"_turn_{name}")()
        except Crash:
            raise
        except Exception as error:
            self.raised_exceptions.append(f"{name}: {type(error).__name__}: {error}")
            raise
        self._due[name] = min(self._due[name], max(true + 1, true + round(wait * 1_000)))

    # -- the program's threads ------------------------------------------------------------------------------------

    def _turn_bulk(self) -> float:
        return self.subscriber.bulk.step()

    def _turn_urgent(self) -> float:
        return self.subscriber.urgent.step()

    def _turn_sms(self) -> float:
        worker, now = self.standing.worker, self.clock.now()
        wait = worker.step(now)
        if wait * SECOND < IDLE_LIMIT:
            return max(0.1, wait)
        # With nothing to do it looks once a minute; here it is woken when there is something.
        return max(wait, (worker._next_at() - now) / SECOND)

    def _turn_influxdb(self) -> float:
        # Slower than in service, to save the simulation time; how often it looks changes nothing that is checked.
        wait = self.standing.mirror.step(self.clock.now())
        if wait == 0:
            return 1.0
        return wait if wait > 1 and self.sink.mode == "ok" else max(2 * 3_600.0, wait)

    def _turn_loop(self) -> float:
        self.turns += 1
        line = self.line
        if not self._stood_still:
            # The turns once a second in which there was nothing to do are left out.
            line._last_now = self.clock.now()
        self._stood_still = False
        line.step(self.inbox.take_small(0) if self.room.is_tight else self.inbox.take(0))
        if self.inbox.depth() and not self.room.is_tight:
            return 0.0
        raised = sum(self.standing.counters.raised.values())
        if raised != self._raised_total:
            self._raised_total = raised
            self._look_for_alarms()
        worker, now = self.standing.worker, self.clock.now()
        due = self.core.next_due(room_at=worker.room_at(now), critical_room_at=worker.critical_room_at(now))
        longest = self.settings.tick
        if line._catches_up_since is not None or not self.core.engine.clock_known:
            longest = min(longest, SECOND)
        elif self.room.is_tight:
            longest = min(longest, 10 * SECOND)
        wait = longest if due is None else min(longest, due - now)
        return max(wait, 1) / 1_000

    def _wake_loop(self, urgent: bool) -> None:
        linger = 0 if urgent or not self.settings.linger else self._order.randrange(self.settings.linger)
        self._due["loop"] = min(self._due.get("loop", FAR), self.clock.true + linger)

    def _wake(self, name: str) -> None:
        self._due[name] = self.clock.true

    def _wake_sms(self) -> None:
        """The worker is woken after each commit; here only where it was given something."""
        if self.standing.worker._mail:
            self._wake("sms")

    def _pause(self, seconds: float) -> bool:
        self._advance(self.clock.true + round(seconds * 1_000), without="loop")
        return False

    # -- life and death -------------------------------------------------------------------------------------------

    def _boot(self) -> None:
        try:
            self._start()
        except JournalError as error:
            if not isinstance(error, JournalUnavailableError) and self.disk.mode == "ok":
                raise
            self.count_fault("start_refused_by_the_disk")
            self.note(f"start refused: {error}")
            if self.disk._journal is not None:
                self.disk.kill(torn=False)
            self.at(self.clock.true + 5 * SECOND, self._boot)
        except Crash:
            self.disk.kill(torn=False)
            self.at(self.clock.true + 5 * SECOND, self._boot)

    def _start(self) -> None:
        """Do what ``app.Daemon`` does."""
        clock, config = self.clock, self.config
        journal = self.disk.open()
        if self._set_after:
            self._starts_in_1970(_newest(journal))
        clock.reborn()
        had_session = journal.last_now() is not None
        self.inbox = SimInbox(self._wake_loop)
        router = Router(config.topics)
        counters = Counters()
        self.core = Core(journal, self.written, router, channel="twilio", counters=counters)
        self.standing = Standing(self.core, clock, self.inbox, counters, Heartbeats(), home_count=3)
        self.synchrony = Synchrony(journal.last_now(), clock.monotonic(), read=lambda: self.is_synchronised)
        self.room = Room(self.core, clock, self.disk.ballast)
        self.line = Line(self.core, self.standing, clock, pause=self._pause, room=self.room, synchrony=self.synchrony)
        self.line.notices_pauses = True
        self._stood_still = False
        self.synchrony.look(clock.monotonic())
        begin(self.core, None, clock.now(), clock_known=self.synchrony.is_known(clock.now()))
        self._due = {"loop": clock.true, "sms": clock.true, "influxdb": clock.true, "bulk": clock.true,
                     "urgent": clock.true}  # fmt: skip
        self.standing.worker = parts.make_worker(config, journal, self.inbox, clock.now())
        self.standing.worker._jitter = self.standing.worker._channel._jitter = random.Random(self.seed)
        self.line.tellers.append(self._wake_sms)
        self.standing.mirror = parts.make_mirror(config, journal, self.inbox, clock.now())
        self.standing.mirror._jitter = random.Random(self.seed)
        topics = Topics(router.filters, router.urgent_topics)
        before = Before(
            known_until=self.core.engine.frozen_at,
            had_session=had_session,
            was_offline=self.core.has_fault("broker_offline"),
        )
        self.subscriber = Subscriber(
            Access(config.settings.mqtt, config.settings.gateway), topics, self.inbox, clock, before,
            connect=lambda *args: SimConnection(*args, broker=self.broker, wake=self._wake),
        )  # fmt: skip
        self.standing.subscriber = self.subscriber
        self.subscriber.start()
        self._raised_total = 0
        self._is_alive = True
        if self.downs and self.downs[-1][1] == FAR:
            self.downs[-1] = (self.downs[-1][0], clock.true)
        self._look_for_alarms()
        self.note("daemon started")

    def _failpoint(self, name: str) -> None:
        if self._armed and self._armed == name:
            self.note(f"killed at {name}")
            self.count_fault(f"kill_{name}")
            self._armed = ""
            raise Crash

    def _die(self) -> None:
        self._is_alive = False
        self._armed = ""
        self.disk.kill(torn=self._is_torn)
        self._is_torn = False
        for connection in (self.subscriber.bulk, self.subscriber.urgent):
            self.broker.gone(connection._client_id)
        for reader in (getattr(self.standing.mirror._source, "_reader", None),):
            if reader is not None:
                reader.close()
        self.downs.append((self.clock.true, FAR))
        self.note("daemon is dead")
        self.at(self.clock.true + self._crash_lasts, self._boot)

    # -- happenings -----------------------------------------------------------------------------------------------

    def _do_crash(self, one: Happening) -> None:
        if not self._is_alive or self._armed or self._is_near_a_command():
            if self.clock.true < self.end - CALM_FOR - HOUR:
                self.at(self.clock.true + 3 * MINUTE, lambda: self._do_crash(one))
            return
        self._crash_lasts = one.lasts
        if one.detail == "idle":
            self.count_fault("kill_idle")
            self._kill()
            return
        self._armed = one.detail
        self.at(self.clock.true + 40 * MINUTE, self._give_up_crash)

    def _do_power_cut(self, one: Happening) -> None:
        """Box and broker are gone together, and come back in any order."""
        if not self._is_alive or not self.broker.is_reachable or self._is_near_a_command():
            if self.clock.true < self.end - CALM_FOR - HOUR:
                self.at(self.clock.true + 3 * MINUTE, lambda: self._do_power_cut(one))
            return
        self.count_fault(f"power_cut_{one.detail}")
        self.note(f"power cut for {one.lasts} ms; the broker kept {one.detail}")
        rng, broker = random.Random(f"{self.seed}:power:{one.at}"), self.broker
        back = self.clock.true + one.lasts + rng.randrange(8_000)
        self._outage("broker_offline", back - self.clock.true)
        broker.stop()
        broker.is_reachable = False
        self.at(back, broker.start_from_old_save if one.detail == "sessions" else lambda: broker.start(keeps=False))
        self.at(back + SECOND, lambda: setattr(broker, "is_reachable", True))
        self.at(back + SECOND + rng.randrange(250, 8_000), self._try_again)
        self._crash_lasts, self._is_torn = one.lasts + rng.randrange(8_000), rng.random() < 0.5
        raise Crash

    def _do_boot_1970(self, one: Happening) -> None:
        """The power goes, and with it the time: until NTP answers it is the first minute of 1970."""
        place = bisect_left(self._busy_times, self.clock.true - 12 * SECOND)
        is_quiet = not any(at < self.clock.true + one.lasts + MINUTE for at in self._busy_times[place : place + 1])
        if not self._is_alive or self.disk.mode != "ok" or not is_quiet or self._is_near_a_command():
            if self.clock.true < one.at + HOUR:
                self.at(self.clock.true + 3 * MINUTE, lambda: self._do_boot_1970(one))
            return
        self.count_fault("boot_1970")
        self.note(f"the box is off for {one.lasts} ms and starts in 1970")
        self._crash_lasts, self._set_after = one.lasts, int(one.detail)
        raise Crash

    def _starts_in_1970(self, last: Instant) -> None:
        """What the clock finds when it is looked at. ``last``: the newest time in the journal."""
        clock = self.clock
        self.uncounted.append((last - clock.followed, clock.true))
        clock.wall_offset = MINUTE - clock.true
        self.is_synchronised = False
        set_at = self._lull(clock.true + self._set_after)
        self._set_after = 0
        self._outage("clock_unsynchronised", set_at - clock.true)
        self.at(set_at, self._sets_clock)

    def _sets_clock(self) -> None:
        self.is_synchronised = True
        self._step_clock(-self.clock.wall_offset)

    def counted(self, at: Instant) -> Instant:
        """A true time in the time that the journal counts, which leaves out what nobody knows the length of."""
        return at - sum(max(0, min(at, ends) - begins) for begins, ends in self.uncounted)

    def _kill(self) -> None:
        raise Crash

    def _give_up_crash(self) -> None:
        self._armed = ""

    def _is_near_a_command(self) -> bool:
        """People's words are given at fixed times; a restart that moved one would move what follows from it."""
        true = self.clock.true
        return any(true - MINUTE <= at <= true + 45 * MINUTE for at in self._command_times)

    def _do_link(self, one: Happening) -> None:
        self.count_fault(f"link_{one.detail}")
        self.note(f"link: {one.detail} for {one.lasts} ms")
        broker, end = self.broker, self.clock.true + one.lasts
        self._outage("broker_offline", one.lasts)
        if one.detail in ("cut", "half_open"):
            broker.is_reachable = False
            broker.cut(silently=one.detail == "half_open")
            self.at(end, lambda: setattr(broker, "is_reachable", True))
        elif one.detail == "session_expires":
            broker.is_reachable = False
            broker.cut(silently=False)
            self.at(end, broker.forget)
            self.at(end, lambda: setattr(broker, "is_reachable", True))
        elif one.detail == "broker_drops":
            broker.is_reachable = False
            broker.cut(silently=False)
            broker.queue_limit = 5
            self.at(end, lambda: setattr(broker, "is_reachable", True))
            self.at(end + MINUTE, lambda: setattr(broker, "queue_limit", None))
        else:
            broker.stop()
            broker.is_reachable = False
            self.at(end, lambda: broker.start(keeps=one.detail == "broker_restart"))
            # The devices are back before us. Those that come later are told as late ones, which is tested elsewhere.
            self.at(end + SECOND, lambda: setattr(broker, "is_reachable", True))
        back = random.Random(f"{self.seed}:retry:{one.at}").randrange(250, 8_000)
        self.at(end + SECOND + back, self._try_again)

    def _try_again(self) -> None:
        """The back-off's next try has come: the connections skip most of those that must fail, to save time."""
        if self._is_alive:
            for connection in (self.subscriber.bulk, self.subscriber.urgent):
                connection.retry_now()

    def _outage(self, fault: str, lasts: Span) -> None:
        self.outages.setdefault(fault, []).append((self.clock.true, self.clock.true + lasts))

    def _step_clock(self, offset: Span) -> None:
        self.clock.wall_offset += offset
        self.note(f"wall clock set by {offset} ms")
        self.count_fault("clock_step" if abs(offset) > 2_000 else "clock_drift")
        if self._is_alive:
            self._due["loop"] = min(self._due["loop"], self.clock.true + self._order.randrange(1_000))

    def _do_stop(self, one: Happening) -> None:
        """SIGSTOP: nothing of the daemon moves."""
        if not self._is_alive or self._is_near_a_command():
            return
        self.count_fault("stopped")
        self._frozen_until = self.clock.true + one.lasts
        self.line._last_now = self.clock.now()
        self._stood_still = True
        self.downs.append((self.clock.true, self._frozen_until))

    def _do_disk(self, one: Happening) -> None:
        if self._is_near_a_command():
            return
        self.note(f"disk: {one.detail} for {one.lasts} ms")
        self._outage("journal_unwritable", one.lasts)
        if one.detail == "full":
            self._outage("disk_full", one.lasts)
        self.disk.set(one.detail)
        self.downs.append((self.clock.true, self.clock.true + one.lasts + 2 * SECOND))
        self.at(self.clock.true + one.lasts, lambda: self.disk.set("ok"))

    def _do_influx(self, one: Happening) -> None:
        self.note(f"history: {one.detail} for {one.lasts} ms")
        if one.detail != "small":
            self._outage("influxdb_offline", one.lasts)
        self.sink.mode = one.detail
        self.at(self.clock.true + one.lasts, lambda: setattr(self.sink, "mode", "ok"))

    def _do_sms(self, one: Happening) -> None:
        self.note(f"sms: {one.detail} for {one.lasts} ms")
        self.count_fault(f"sms_{one.detail}")
        self._outage("sms_offline", one.lasts)
        if one.detail == "down":
            self.notifier.is_down = True
        else:
            self.notifier.refuses_all = Reason.UNAUTHORISED

        def over() -> None:
            self.notifier.is_down, self.notifier.refuses_all = False, None

        self.at(self.clock.true + one.lasts, over)

    def _calm(self) -> None:
        """From here on everything works."""
        self.note("calm from here on")
        self.notifier.rates = {}
        self._armed = ""

    def _do_garbage(self, one: Happening) -> None:
        rng = random.Random(one.detail)
        home_id = rng.choice(self.script.home_ids)
        sensor = rng.choice([word for word in self.words.values() if word.home_id == home_id])
        topic = rng.choice((sensor.topic, f"guard/s1/{home_id}/nobody", "guard/x", f"{sensor.topic}/more"))
        body = rng.choice(
            (b"{", b"\xff\xfe", b'{"power_w": NaN}', b'{"power_w": 1e9}', b"[" * 3_000, b'{"ts": "x"}' * 9)
        )
        word = Word(
            -2 - len(self.words), self.clock.true, 0, home_id, sensor.sensor_id, None, 0.0, topic=topic, garbage=body
        )
        self.count_fault("garbage")
        self._publish(word, body)

    def _do_dead_sensor(self, one: Happening) -> None:
        self.count_fault("dead_sensor")
        self.note(f"sensor {one.detail} is dead for {one.lasts} ms")
        self._dead_sensors[one.detail] = self.clock.true + one.lasts

    def _do_step(self, one: Happening) -> None:
        """Set the wall clock in a lull, so that no word is on its way across the step."""
        quiet = self._lull(self.clock.true)
        self.at(quiet, lambda: self._step_clock(int(one.detail)))

    def _lull(self, at: Instant) -> Instant:
        """The next instant with no word within twelve seconds, either way."""
        while True:
            place = bisect_left(self._busy_times, at - 12 * SECOND)
            if place == len(self._busy_times) or self._busy_times[place] > at + 12 * SECOND:
                return at
            at = self._busy_times[place] + 13 * SECOND

    # -- devices --------------------------------------------------------------------------------------------------

    def _says(self, word: Word) -> None:
        dead_until = self._dead_sensors.get(f"{word.home_id}/{word.sensor_id}", 0)
        if self.clock.true < dead_until:
            return
        # The bridge runs on the box; in a world whose clock is set, everybody takes the time from there.
        device_now = self.clock.wall() if self.script.steps_clock else self.clock.true
        self.said_at[word.uid] = device_now
        if device_now < EARLIEST:
            self.count_fault("said_in_1970")
        body = payload(word, device_now)
        self.at(self.clock.true + word.delay, lambda: self._publish(word, body))

    def _publish(self, word: Word, body: bytes) -> None:
        qos = 0 if word.home_id == self.script.best_effort and word.sensor_id not in ("smoke", "panic") else 1
        is_taken = self.broker.publish(Packet(word.topic, body, qos, word.uid), retain=self.script.retains)
        if qos == 0:
            self.count_fault("qos0" if is_taken else "qos0_lost")  # said once, and never again
        elif is_taken:
            self.published.add(word.uid)
        elif word.uid >= 0:
            # The device has no PUBACK: it tries again, in the order in which it spoke.
            self.at(self.clock.true + 500, lambda: self._publish(word, body))

    def _was_acked(self, packet: Packet) -> None:
        self.acked.add(packet.uid)

    # -- people ---------------------------------------------------------------------------------------------------

    def _look_for_alarms(self) -> None:
        for alarm in self.core.journal.reader.alarms(open_only=True, limit=1_000):
            if alarm.alarm_id not in self._known_alarms:
                self._known_alarms.add(alarm.alarm_id)
                self.note(f"alarm {alarm.alarm_id}")
                self._somebody_is_told(alarm)

    def _somebody_is_told(self, alarm: Alarm) -> None:
        rng = random.Random(f"{self.seed}:{alarm.home_id}:{alarm.rule_id}:{self._true(alarm.raised_at) // HOUR}")
        if rng.random() < self.script.never_answers:
            self.count_fault("nobody_answers")
            return
        late = self.clock.true - self._true(alarm.raised_at) > 5 * MINUTE
        base = -(-self.clock.true // HOUR) * HOUR if late else self._true(alarm.raised_at)
        answers_at = base + rng.choice((12, 20, 50, 300)) * MINUTE + rng.randrange(60) * SECOND
        closes_at = answers_at + rng.choice((5, 60, 600)) * MINUTE
        outcome = rng.choice((AlarmOutcome.FINE, AlarmOutcome.HELPED, AlarmOutcome.FALSE_ALARM))
        if rng.random() < 0.8:
            self._will_say(answers_at, CommandKind.ACKNOWLEDGE, alarm.alarm_id)
        self._will_say(closes_at, CommandKind.CLOSE, alarm.alarm_id, outcome=outcome)

    def _true(self, at: Instant) -> Instant:
        return at - self.clock.followed

    def _will_say(self, at: Instant, kind: str, target: str, **more: object) -> None:
        at = self._lull(at)
        self._command_times.append(at)
        self.at(at, lambda: self._ask(kind, target, **more))

    def _ask(self, kind: str, target: str, tries: int = 0, **more: object) -> None:
        if self.clock.true in self._command_times:
            self._command_times.remove(self.clock.true)
        if not self._is_alive or self._frozen_until > self.clock.true:
            if tries < 50:
                self.at(self.clock.true + 30 * SECOND, lambda: self._ask(kind, target, tries + 1, **more))
            return
        command = Command(f"c{len(self.asked)}-{self.clock.true}", kind, target, "wang", self.clock.now(), **more)

        def reply(answer: object) -> None:
            self.asked.append(Asked(command, answer))
            self.note(f"{kind} {target}: {answer or 'taken'}")

        self.inbox.put(Request(command, reply), urgent=True)

    def _do_away(self, one: Happening) -> None:
        self._will_say(self.clock.true, CommandKind.AWAY, one.detail, until=self.clock.now() + one.lasts)
        if one.lasts % 2:
            self._will_say(self.clock.true + one.lasts // 2, CommandKind.BACK, one.detail)

    def _do_test(self, one: Happening) -> None:
        self._will_say(self.clock.true, CommandKind.TEST_MODE, one.detail, until=self.clock.now() + one.lasts)

    def _do_mute(self, one: Happening) -> None:
        self._will_say(
            self.clock.true, CommandKind.MUTE, MUTED_RULE, until=self.clock.now() + one.lasts, home_id=one.detail
        )

    def _do_mute_critical(self, one: Happening) -> None:
        for rule_id in ("panic", "smoke"):
            self._will_say(self.clock.true, CommandKind.MUTE, rule_id, until=self.clock.now() + one.lasts)

    def _do_reload(self, one: Happening) -> None:
        """Another configuration, in which no rule and no ladder has changed."""
        if not self._is_alive or self.disk.mode != "ok":
            return
        self.count_fault("reload")
        homes = [
            replace(home, building_id=f"b{one.at % 97}") if home.home_id == one.detail else home
            for home in self.plan.homes
        ]
        self.plan = replace(self.plan, homes=tuple(homes))
        written = self.written = WrittenPlan.of(self.plan)
        self.inbox.put(Request(NewPlan(written), lambda _answer: None))


@contextmanager
def _sim_parts(world: World) -> Iterator[None]:
    """Let ``parts`` make the worker and the mirror with the world's channel and history."""
    notifiers, sinks = parts.NOTIFIERS, parts.SINKS
    parts.NOTIFIERS = {
        "twilio": lambda _settings, _token: world.notifier,
        "console": lambda _settings, _token: world.second,
    }
    parts.SINKS = {"influxdb": lambda _settings, _token: world.sink}
    checkpoints, pulse = core.CHECKPOINT_EVERY, lane.PULSE_EVERY
    steps, work_room = room.PRUNE_STEPS, room.WORK_ROOM
    # The journal is the world's witness: what a full disk has removed is looked at in tests of its own.
    room.PRUNE_STEPS, room.WORK_ROOM = 0, 16 * PAGE
    lane.PULSE_EVERY = 6 * 3_600.0  # twice a minute is what a world cannot pay
    lost = Link.lost

    def lost_with_pulses(self: Link, at: Instant, proven_at: Instant | None = None) -> list[LinkEvent]:
        """What the pulses that are left out would have proven counts as proven."""
        return lost(self, at, None if proven_at is None else max(proven_at, at - 10 * SECOND))

    Link.lost = lost_with_pulses
    # Mostly far apart: a checkpoint costs a world more than a day of readings, and a long tail is the harder case.
    often = (20 * MINUTE, *(2 * HOUR, 6 * HOUR, DAY) * 3)
    core.CHECKPOINT_EVERY = random.Random(f"{world.seed}:checkpoints").choice(often)
    try:
        yield
    finally:
        parts.NOTIFIERS, parts.SINKS, core.CHECKPOINT_EVERY = notifiers, sinks, checkpoints
        lane.PULSE_EVERY, Link.lost = pulse, lost
        room.PRUNE_STEPS, room.WORK_ROOM = steps, work_room


def _newest(journal: Journal) -> Instant:
    """Give the newest time in a journal: of a batch, or of a checkpoint that time alone has led up to."""
    state = journal.engine_state()
    return max(journal.last_now() or 0, json.loads(state)["now"] if state else 0)


def path_for(directory: Path) -> Path:
    """Where the journal of a world lies: memory, where there is some."""
    return directory / "journal.db"
