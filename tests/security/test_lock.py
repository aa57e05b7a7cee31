"""The locked lists of packages: whole, with hashes, from nowhere in particular, and what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).parents[2]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUN = [Requirement(text) for text in PROJECT["dependencies"]]
DEV = [Requirement(text) for text in PROJECT["optional-dependencies"]["dev"]]


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Give package -> (version, how many hashes)."""
    found = {}
    text = (TOP / name).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        pinned = re.match(r"([\w.-]+)==(\S+)( ;[^#]*?)? +(--hash=sha256:[0-9a-f]{64}\s*)+$", line)
        assert pinned, line[:120]
        found[canonicalize_name(pinned[1])] = (pinned[2], line.count("--hash=sha256:"))
    return found


@pytest.mark.parametrize(("name", "wanted"), [("requirements.lock", RUN), ("requirements-dev.lock", RUN + DEV)])
def test_the_lock_has_what_the_project_asks_for(name, wanted):
    packages = locked(name)
    for requirement in wanted:
        version, hashes = packages[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), requirement
        assert hashes >= 1


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_the_lock_names_no_place(name):
    text = (TOP / name).read_text(encoding="utf-8")
    assert not re.search(r"://|--index|--extra-index|--find-links|--trusted-host| @ ", text)


def test_the_tests_run_with_what_the_service_runs_with():
    run, dev = locked("requirements.lock"), locked("requirements-dev.lock")
    assert {name: dev.get(name, ("", 0))[0] for name in run} == {name: version for name, (version, _) in run.items()}
