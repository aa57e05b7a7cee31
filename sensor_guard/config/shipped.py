"""The rules that come with the program, and a plan for homes that no configuration knows."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from sensor_guard.config.builtin import FAULT_RULES
from sensor_guard.config.canonical import zone_of
from sensor_guard.config.rules import RuleBook, load_rules
from sensor_guard.engine.plan import HomePlan, Ladder, Plan, Sensor, Step
from sensor_guard.model import GATEWAY, HOUR, KIND_OF_QUANTITY, KINDS, Kind, Span

RESPONDER = "responder"
"""The one contact of a plan for unknown homes: whoever plays the answering."""


def shipped_rules_directory() -> Path:
    """Find the shipped rules: inside an installed package, or at the top of a checkout.

    Raises:
        FileNotFoundError: they are at neither place; the installation is damaged.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "shipped" / "rules", package.parent / "rules"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the shipped rules are missing below {package}; install the program again")


def plan_for_unknown_homes(
    readings: Iterable[tuple[str, str, str]],
    *,
    book: RuleBook | None = None,
    zone_name: str = "UTC",
    meter: str = "counter",
    observed_for: Mapping[tuple[str, str], Span] | None = None,
) -> Plan:
    """Make a plan from what a recording contains: (home_id, sensor_id, quantity), in any order and number.

    Args:
        readings: each triple once is enough.
        book: the rules; the shipped ones where None.
        zone_name: for rules with hours of the day.
        meter: what energy_wh and volume_l are, "counter" or "interval".
        observed_for: how long a message keeps a sensor observed, by (home_id, sensor_id); its kind's default else.

    A sensor that tells nothing but battery and link counts as a door sensor, the one no absence is read from.
    """
    book = book or load_rules([shipped_rules_directory()])
    names = sorted({rule.ladder for rule in (*book.rules, *FAULT_RULES)})
    ladder = Ladder((Step(0, (RESPONDER,)),), HOUR, 12 * HOUR)
    ladders = tuple((name, ladder) for name in names)
    homes = tuple(
        HomePlan(
            home_id, "", "", tuple(_sensor(home_id, *item, meter, observed_for or {}) for item in sensors), ladders
        )
        for home_id, sensors in sorted(_kinds(readings).items())
    )
    gateway = HomePlan(GATEWAY, "", "", (), ladders)
    return Plan((*book.rules, *FAULT_RULES), (*homes, gateway), zone=zone_of(zone_name), zone_name=zone_name)


# A device that says several things is what matters most of it.
_RANK = {
    kind: rank for rank, kind in enumerate((Kind.PANIC, Kind.SMOKE, Kind.MOTION, Kind.POWER, Kind.WATER, Kind.DOOR))
}


def _kinds(readings: Iterable[tuple[str, str, str]]) -> dict[str, list[tuple[str, Kind]]]:
    kinds: dict[str, dict[str, Kind | None]] = {}
    for home_id, sensor_id, quantity in readings:
        sensors = kinds.setdefault(home_id, {})
        kind, known = KIND_OF_QUANTITY.get(quantity), sensors.get(sensor_id)
        if known is None or (kind is not None and _RANK[kind] < _RANK[known]):
            sensors[sensor_id] = kind
    return {
        home_id: sorted((sensor_id, kind or Kind.DOOR) for sensor_id, kind in sensors.items())
        for home_id, sensors in kinds.items()
    }


def _sensor(
    home_id: str, sensor_id: str, kind: Kind, meter: str, observed_for: Mapping[tuple[str, str], Span]
) -> Sensor:
    span = observed_for.get((home_id, sensor_id), KINDS[kind].observed_for)
    return Sensor(sensor_id, kind.value, span, meter)
