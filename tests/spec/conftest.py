"""The homes of the specification: one sensor of each kind, and the nine rules as they ship."""

from collections.abc import Callable

import pytest

from sensor_guard.config import FAULT_RULES, load_rules, shipped_rules_directory
from sensor_guard.testing import Home

RULES = list(load_rules([shipped_rules_directory()]).rules)
GATEWAY_RULES = list(FAULT_RULES)


@pytest.fixture
def home() -> Home:
    """A home with one sensor of each kind, judged by all rules, nothing heard yet."""
    return Home(RULES + GATEWAY_RULES)


@pytest.fixture
def home_with() -> Callable[..., Home]:
    """A home judged by the named rules only."""

    def build(*rule_ids: str, **more) -> Home:
        return Home([r for r in RULES + GATEWAY_RULES if r.rule_id in rule_ids], **more)

    return build
