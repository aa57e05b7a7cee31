"""What can be said about a home at this moment, for people: read only, and nothing decides by it."""

from dataclasses import dataclass

from sensor_guard.engine.conditions import FAR, SensorState
from sensor_guard.engine.engine import Engine
from sensor_guard.engine.home import Home
from sensor_guard.engine.homes import Sleeper
from sensor_guard.model import GATEWAY, Instant


@dataclass(frozen=True, slots=True)
class SensorView:
    """One device. ``observed``: its word speaks for now; ``blind_since``: since when not, None if never heard."""

    sensor_id: str
    kind: str
    heard_at: Instant | None
    observed: bool
    blind_since: Instant | None
    level: float | None
    battery_pct: float | None


@dataclass(frozen=True, slots=True)
class HomeView:
    """One home. ``last_sign_at``: the newest message of any sensor.

    ``blind``: "no", "partly" (some sensors cannot be seen) or "yes" (none can, or the box itself sees nothing);
    ``blind_since``: since when the first of them; None where it was never seen.
    """

    home_id: str
    last_sign_at: Instant | None
    blind: str
    blind_since: Instant | None
    away: bool
    away_until: Instant | None
    test_until: Instant | None
    muted_until: dict[str, Instant]
    open_alarms: tuple[str, ...]
    sensors: tuple[SensorView, ...]


def view_home(engine: Engine, home: Home) -> HomeView:
    """Say how a home stands, at the engine's now."""
    # Event time lags behind by the lateness, and stands still while the link is down: judge by the present.
    now = engine.now
    sensors = tuple(_view_sensor(home, state, now) for state in home.sensors.values())
    unseen = [sensor for sensor in sensors if not sensor.observed]
    blind_since = min((s.blind_since for s in unseen if s.blind_since is not None), default=None)
    blind = "no" if not unseen else "yes" if len(unseen) == len(sensors) else "partly"
    if not engine.drained:
        blind, blind_since = "yes", engine.frozen_at
    elif home.is_blind:
        blind, blind_since = "yes", home.blind_from
    signs = [state.heard_at for state in home.sensors.values() if state.heard_at is not None]
    signs += [item.at for item in home.pending if item.reading is not None]
    return HomeView(
        home_id=home.home_id,
        last_sign_at=max(signs, default=None),
        blind=blind,
        blind_since=blind_since,
        away=home.is_away,
        away_until=home.away_until if home.is_away and home.away_until < FAR else None,
        test_until=home.test_until or None,
        muted_until=dict(home.muted_until),
        open_alarms=tuple(home.cases.open_by_rule.values()),
        sensors=sensors,
    )


def count_blind(engine: Engine) -> int:
    """Count the homes of which nothing can be seen, at a hundredth of the price of viewing each."""
    if not engine.drained:
        return sum(home_id != GATEWAY for home_id in engine.homes)
    now = engine.now
    blind = 0
    for home_id, home in engine.homes.as_they_are():
        if home_id != GATEWAY:
            blind += _is_unseen(engine, home, now)
    return blind


def _is_unseen(engine: Engine, home: Home | Sleeper, now: Instant) -> bool:
    if isinstance(home, Home):
        return home.seen_until() <= now
    if home.blind is not None:
        start, end = home.blind
        if start <= engine.settled_to < end:
            return True
        if home.seen_until <= now:  # the stretch may have used up nothing of it
            return engine.homes[home.plan.home_id].seen_until() <= now
    return home.seen_until <= now


def _view_sensor(home: Home, state: SensorState, now: Instant) -> SensorView:
    waiting = [p.at for p in home.pending if p.reading is not None and p.reading.sensor_id == state.sensor.sensor_id]
    heard_at = max([at for at in (state.heard_at, *waiting) if at is not None], default=None)
    observed = bool(waiting) or (state.observed and state.fresh_until > now and not home.is_blind)
    blind_since = None
    if not observed and state.fresh_until:
        blind_since = min(state.fresh_until, now)
    return SensorView(
        sensor_id=state.sensor.sensor_id,
        kind=state.sensor.kind,
        heard_at=heard_at,
        observed=observed,
        blind_since=blind_since,
        level=state.level,
        battery_pct=state.battery,
    )
