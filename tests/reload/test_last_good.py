"""What is kept of a configuration that worked, and when it is run on."""

import json
from pathlib import Path

import pytest

from sensor_guard.config import LastGood, load_for_people, load_for_service, plan_to_text
from sensor_guard.config import last_good as module
from sensor_guard.config.last_good import FilesChangingError, hashes_of, journal_of
from sensor_guard.errors import ConfigError

OTHER_TOPICS = """site,building,home,label,kind,sensor,topic,convention,expect_every,meter,interval,rules_off
s1,b1,h1,3-301,panic,panic,,,,,,
s1,b1,h1,3-301,power,p1,zigbee2mqtt/plug 1,zigbee2mqtt,10m,interval,15m,
s1,b1,h2,3-302,panic,panic,guard/s1/h2/motion,,,,,battery_low
s1,b1,h2,3-302,motion,motion,guard/s1/h2/panic,,,,,battery_low
s1,,h3,3-303,motion,motion,,,2h,,,
"""


def keep(files) -> str:
    folder = LastGood(files.last_good)
    name = folder.store(files.load(), hashes_of(files.config)).name
    folder.make_current(name)
    return name


def test_the_compiled_form_is_what_the_files_say(files):
    files.write("homes.csv", OTHER_TOPICS)
    keep(files)
    fresh, loaded = files.load(), load_for_service(files.config)

    assert loaded.kept
    assert loaded.problems == ()
    config = loaded.config
    assert config.plan == fresh.plan
    assert config.plan.zone == fresh.plan.zone
    assert loaded.written.text() == plan_to_text(fresh.plan)
    assert dict(config.topics) == dict(fresh.topics)
    assert dict(config.contacts.entries) == dict(fresh.contacts.entries)
    assert [config.label(home) for home in ("h1", "h3", "gone")] == ["3-301", "3-303", "gone"]
    assert config.rules == fresh.rules
    assert config.settings == fresh.settings
    assert config.warnings == fresh.warnings
    assert set(config.files) == set(fresh.files)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config.yaml", "gateway: box1", "gateway: box2"),
        ("homes.csv", "3-302", "3-999"),
        ("contacts.yaml", "+8613800000001", "+8613800000009"),
        ("rules/r.yaml", "15 %", "16 %"),
    ],
)
def test_a_file_that_has_changed_is_read_afresh(files, name, old, new):
    keep(files)
    files.edit(name, old, new)

    loaded = load_for_service(files.config)

    assert loaded.kept == ""
    assert loaded.config.plan == files.load().plan


def test_another_rule_file_is_noticed(files):
    keep(files)
    more = (files.folder / "rules/r.yaml").read_text(encoding="utf-8").split("tests:")[0]
    files.write("rules/s.yaml", more.replace("id: panic", "id: panic2").replace("id: battery_low", "id: battery2"))

    loaded = load_for_service(files.config)

    assert loaded.kept == ""
    assert "panic2" in [rule.rule_id for rule in loaded.config.rules]


def test_another_version_of_the_program_reads_everything_afresh(files, monkeypatch):
    keep(files)
    monkeypatch.setattr(module, "program_print", lambda: "another")

    assert load_for_service(files.config).kept == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "gateway: [\n"),
        ("config.yaml", ""),
        ("homes.csv", "nonsense\n"),
        ("contacts.yaml", "contacts: []\n"),
        ("rules/r.yaml", "rules: [{id: x}]\n"),
    ],
)
@pytest.mark.parametrize("program", ["this", "another"])
def test_with_wrong_files_the_last_good_ones_are_run_on(files, name, content, program, monkeypatch):
    files.edit("config.yaml", "journal.db", "state/journal.db")
    (files.folder / "state").mkdir()
    folder = LastGood.beside(files.folder / "state" / "journal.db")
    folder.make_current(folder.store(files.load(), hashes_of(files.config)).name)
    fresh = files.load()
    files.write(name, content if content != "gateway: [\n" else "journal: {path: state/journal.db}\ngateway: [\n")
    if not content:
        files.write(name, "journal:\n  # here\n  path: state/journal.db\n")
    if program == "another":
        monkeypatch.setattr(module, "program_print", lambda: "another")

    loaded = load_for_service(files.config)

    assert next(Path(problem.file).name for problem in loaded.problems) == Path(name).name
    assert loaded.config.plan == fresh.plan
    assert loaded.config.settings == fresh.settings
    assert loaded.config.contact("wang").phone == "+8613800000001"


def test_with_wrong_files_and_nothing_kept_the_problems_are_told(files):
    files.edit("rules/r.yaml", "15 %", "15 W")

    with pytest.raises(ConfigError) as caught:
        load_for_service(files.config)

    assert "r.yaml:10" in str(caught.value)


def test_a_fault_of_the_program_itself_leaves_the_last_good_configuration(files, monkeypatch):
    keep(files)
    files.edit("homes.csv", "3-302", "3-999")

    def broken(_path, **_more):
        raise TypeError("unhashable type: 'dict'")

    monkeypatch.setattr(module, "load", broken)

    loaded = load_for_service(files.config)
    assert loaded.config.label("h2") == "3-302"
    assert "the program itself has a fault" in loaded.problems[0].message


def test_the_last_good_files_of_another_configuration_are_not_ours(files, tmp_path):
    keep(files)
    other = tmp_path / "other.yaml"
    other.write_text(
        files.config.read_text(encoding="utf-8").replace("gateway: box1", "gateway: a b"), encoding="utf-8"
    )

    with pytest.raises(ConfigError):
        load_for_service(other)


@pytest.mark.parametrize("damaged", ["compiled.jsonl", "manifest.json", "current"])
def test_a_damaged_folder_is_passed_over_and_written_anew(files, damaged):
    name = keep(files)
    path = files.last_good / damaged if damaged == "current" else files.last_good / name / damaged
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: len(text) // 2], encoding="utf-8")

    loaded = load_for_service(files.config)

    assert loaded.kept == ""
    assert loaded.config.plan == files.load().plan
    keep(files)
    assert load_for_service(files.config).kept == name


def test_nobody_else_may_read_the_copies(files):
    keep(files)

    modes = {path: path.stat().st_mode & 0o777 for path in (files.last_good, *files.last_good.rglob("*"))}

    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_the_copies_are_verbatim_and_only_the_newest_stay(files):
    first = keep(files)
    files.edit("contacts.yaml", "王芳", "王 芳")
    second = keep(files)

    assert sorted(path.name for path in files.last_good.iterdir()) == sorted([second, "current"])
    assert first != second
    for name in ("config.yaml", "homes.csv", "contacts.yaml", "rules/r.yaml"):
        assert (files.last_good / second / name).read_bytes() == (files.folder / name).read_bytes()


def test_files_that_change_while_they_are_read_are_not_kept(files):
    hashes, config = hashes_of(files.config), files.load()
    files.edit("homes.csv", "3-302", "3-999")

    with pytest.raises(FilesChangingError):
        LastGood(files.last_good).store(config, hashes)
    assert LastGood(files.last_good).current() is None


def test_people_get_the_last_good_names_or_at_least_the_socket(files):
    files.edit("config.yaml", "Asia/Shanghai", "Asia/Tokyo")
    keep(files)
    files.edit("rules/r.yaml", "15 %", "15 W")
    config, error = load_for_people(files.config)
    assert (config.label("h1"), config.is_whole, len(error.problems)) == ("3-301", True, 1)

    (files.last_good / "current").unlink()
    config, error = load_for_people(files.config)
    assert (config.label("h1"), config.is_whole) == ("h1", False)
    assert config.settings.runtime.directory == files.folder / "run"

    files.edit("config.yaml", "gateway: box1", "gateway: [")
    config, error = load_for_people(files.config)
    assert config.settings.runtime.directory == files.folder / "run"
    assert str(config.settings.zone) == "Asia/Tokyo"
    assert journal_of(files.config) == files.folder / "journal.db"


def test_the_journal_of_a_file_that_says_nothing_is_the_usual_one(files):
    files.write("config.yaml", "gateway: [\n")

    assert journal_of(files.config) == Path("/var/lib/sensor_guard/journal.db")


def test_the_manifest_holds_no_names(files):
    name = keep(files)

    manifest = (files.last_good / name / "manifest.json").read_text(encoding="utf-8")

    assert "13800000001" not in manifest
    assert "王芳" not in manifest
    assert json.loads(manifest)["config"] == str(files.config)
