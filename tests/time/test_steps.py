"""Twelve hours are twelve hours of true time, whatever is done to the clock on the wall."""

import pytest

from sensor_guard.model import DAY, HOUR, MINUTE, SECOND, Drained, LinkLost, LinkUp
from sensor_guard.testing import START
from tests.time.world import EPOCH, STEPS, World

LOW = "electricity_low"


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = []

    def build(*rules, seed=0):
        made.append(World(tmp_path, monkeypatch, *rules, seed=seed))
        return made[0]

    yield build
    made[0].journal.close()


def is_on_time(world, began: int = 0, *, late: int = 0) -> bool:
    """One alarm, 12 h to 12 h 60 s of true time after the hold began; ``late``: of a part that nobody could see."""
    rose = [at - began for at in world.rose(LOW)]
    return len(rose) == 1 and 12 * HOUR <= rose[0] <= 12 * HOUR + 60 * SECOND + late


@pytest.mark.parametrize("offset", STEPS)
def test_a_step_in_the_middle_of_the_hold_moves_nothing(world, offset):
    box = world(LOW)
    box.reads(6 * HOUR)
    box.step(offset)
    box.reads(7 * HOUR)
    assert is_on_time(box), box.raised_at


@pytest.mark.parametrize("back", [-2 * HOUR, -30 * MINUTE])
def test_what_comes_after_a_step_ahead_was_taken_back_came_when_it_came(world, back):
    """Somebody mistypes the hour, and sets it right at once."""
    box = world(LOW)
    box.reads(HOUR)
    box.step(2 * HOUR)
    box.step(back)
    box.says("h1/power_w", 80)

    ((_, reading),) = box.journal.reader.readings_after(box.journal.last_seq - 1, 1)
    assert (reading.value, reading.received_at) == (80.0, box.clock.now())


@pytest.mark.parametrize("offset", [step for step in STEPS if step < HOUR])
def test_devices_that_know_the_time_better_than_the_box_change_nothing(world, offset):
    box = world(LOW)
    box.reads(6 * HOUR, device_time=True)
    box.step(offset)
    box.reads(3 * HOUR, device_time=True)
    box.right()
    box.reads(4 * HOUR, device_time=True)
    assert is_on_time(box), box.raised_at


@pytest.mark.parametrize("offset", [2 * HOUR, 30 * DAY])
def test_a_clock_set_far_ahead_makes_devices_with_a_time_of_their_own_unseen_never_well(world, offset):
    """They seem to speak of long ago: the hold pauses and the maintainer is told, until the clock is right again."""
    box = world(LOW, "sensor_silent")
    box.reads(6 * HOUR, device_time=True)
    box.step(offset)
    box.reads(2 * HOUR, device_time=True)
    assert len(box.rose("sensor_silent")) == 1
    box.right()
    box.reads(7 * HOUR, device_time=True)
    assert is_on_time(box, late=2 * HOUR), box.raised_at


@pytest.mark.parametrize("seed", range(25))
def test_many_steps_at_any_moment_move_nothing(world, seed):
    """Up to six, some one after the other, some back to the truth; the meter with and without a time of its own."""
    box = world(LOW, seed=seed)
    chance, device_time = box.random, seed % 2 == 0
    for at in sorted(chance.randint(0, 13 * HOUR) for _ in range(chance.randint(1, 6))):
        box.reads(max(0, at - box.true), device_time=device_time)
        if chance.random() < 0.3:
            box.right()
        else:
            # A device's own time is better than that of a clock that is behind.
            box.step(chance.choice([step for step in STEPS if not device_time or box.offset + step <= 0]))
    box.reads(13 * HOUR - box.true, device_time=device_time)
    assert is_on_time(box), (seed, box.raised_at)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("offset", [2 * HOUR, -2 * HOUR, 30 * DAY, -30 * DAY])
def test_one_kettle_around_a_step_starts_the_twelve_hours_again(world, offset, seed):
    """The kettle is read in the second in which the clock is set: before it, after it, in the same turn."""
    box = world(LOW, seed=seed)
    box.reads(6 * HOUR)
    kettle = box.message("h1/power_w", 1800)
    box.offset += offset
    began = box.true
    box.true += box.random.randint(1, SECOND)
    box.turn(kettle)
    box.says("h1/power_w", 3)
    box.reads(13 * HOUR)
    assert is_on_time(box, began, late=SECOND), (seed, box.raised_at)


@pytest.mark.parametrize("offset", [2 * HOUR, -2 * HOUR, 30 * DAY, -30 * DAY])
def test_a_step_during_an_outage_of_the_broker_moves_nothing(world, offset):
    box = world(LOW)
    box.reads(6 * HOUR)
    box.turn(LinkLost(box.clock.now()))
    box.passes(10 * MINUTE)
    box.step(offset)
    box.passes(10 * MINUTE)
    box.turn(LinkUp(box.clock.now(), session_present=True))
    # While it drains the clock is set once more.
    box.step(-offset)
    box.says("h1/power_w", 3)
    box.turn(Drained(box.clock.now()))
    box.reads(7 * HOUR)
    assert is_on_time(box), box.raised_at


@pytest.mark.parametrize("offset", [2 * HOUR, -2 * HOUR, 30 * DAY, -30 * DAY, EPOCH])
def test_a_step_between_two_processes_is_a_step_like_any_other(world, offset):
    """The daemon is restarted, and somebody sets the clock meanwhile: the machine's own count says by how much."""
    box = world(LOW)
    box.reads(6 * HOUR)
    box.off()
    box.true += 3 * MINUTE
    box.offset += offset
    box.on()
    box.reads(7 * HOUR)
    assert is_on_time(box), box.raised_at


@pytest.mark.parametrize("seed", range(5))
def test_a_box_without_a_battery_boots_in_1970_and_learns_the_time_later(world, seed):
    """How long it was off, and how long it had lived since its last entry, nobody can know; all else counts."""
    box = world(LOW, seed=seed)
    box.reads(6 * HOUR)
    box.off()
    off_for = box.random.randint(MINUTE, 20 * MINUTE)
    box.true += off_for
    box.boot(EPOCH - box.true)
    box.on()
    box.reads(box.random.randint(MINUTE, 5 * HOUR))
    box.right()
    box.reads(13 * HOUR - box.true)
    assert is_on_time(box, late=off_for + 5 * MINUTE), (seed, box.raised_at)
    assert box.core.engine.clock_known


def test_a_box_that_was_off_without_a_battery_for_two_days_wakes_nobody(world):
    box = world(LOW, "sensor_silent", "no_movement")
    box.says("h1/motion", 1)
    box.reads(6 * HOUR)
    before = dict(box.raised_at)  # the water meter, which has never spoken
    box.off()
    box.true += 2 * DAY
    box.boot(EPOCH - box.true)
    box.on()
    box.reads(5 * MINUTE)
    box.right()
    box.says("h1/motion", 1)
    box.reads(30 * MINUTE)
    assert box.raised_at == before


@pytest.mark.parametrize("paused_for", [11 * SECOND, 10 * MINUTE, 50 * MINUTE])
def test_after_a_pause_what_has_waited_comes_in_before_anything_is_decided(world, paused_for):
    """SIGSTOP, or a suspend. The meter was in use in it; its words are in the socket when the daemon goes on."""
    box = world(LOW)
    box.reads(12 * HOUR - paused_for // 2 - SECOND)
    used_at = box.true + paused_for // 3
    box.true += paused_for
    box.turn()
    assert box.raised_at == {}
    box.says("h1/power_w", 1800, at=START + used_at)
    box.says("h1/power_w", 3)
    box.passes(5 * SECOND)
    box.reads(11 * HOUR)
    assert box.raised_at == {}
    box.reads(2 * HOUR)
    assert len(box.rose(LOW)) == 1


def test_after_a_pause_no_sensor_is_silent_whose_words_have_waited(world):
    box = world("sensor_silent")
    for quantity in ("motion", "smoke", "door_open", "panic", "volume_l"):
        box.says(f"h1/{quantity}", 0)
    box.reads(HOUR // 2)
    box.says("h1/volume_l", 1)
    box.true += 50 * MINUTE
    turns = box.core.counters.batches
    box.turn()
    box.says("h1/power_w", 3)
    box.says("h1/volume_l", 1)
    box.passes(5 * SECOND)
    box.reads(30 * MINUTE)
    assert box.raised_at == {}
    assert box.core.counters.batches - turns < 20


def test_a_pause_without_a_word_is_decided_once_it_is_known_that_nothing_waited(world):
    box = world(LOW)
    box.reads(11 * HOUR + 55 * MINUTE)
    box.true += 10 * MINUTE
    box.turn()
    assert box.raised_at == {}
    box.passes(3 * SECOND)
    assert len(box.rose(LOW)) == 1
    assert box.rose(LOW)[0] <= 12 * HOUR + 5 * MINUTE + 10 * SECOND
