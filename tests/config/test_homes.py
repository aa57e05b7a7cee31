"""The list of homes, as spreadsheets and people write it."""

from pathlib import Path

import pytest

from sensor_guard.config.homes import KIND_WORDS, read_homes
from sensor_guard.model import DAY, HOUR, KINDS, MINUTE

HEADER = "site,building,home,label,kind,sensor,topic,convention,expect_every,meter,interval\n"
ROW = "s1,b1,h1,三号楼301,power,p1,,,,,\n"


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    problems = []
    homes = read_homes(path, problems)
    assert [str(problem) for problem in problems] == []
    return homes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk"])
def test_label_is_read_in_every_encoding_of_a_spreadsheet(tmp_path, encoding):
    homes = read(tmp_path / "h.csv", (HEADER + ROW).encode(encoding))

    assert homes.entries["h1"].label == "三号楼301"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_every_separator_of_a_spreadsheet_is_understood(tmp_path, separator):
    homes = read(tmp_path / "h.csv", (HEADER + ROW).replace(",", separator))

    assert list(homes.entries) == ["h1"]


def test_windows_line_ends_blank_rows_and_blanks_around_cells_do_not_matter(tmp_path):
    homes = read(tmp_path / "h.csv", (HEADER + ",,,,,,,,,,\n\n" + ROW.replace("h1", " h1 ")).replace("\n", "\r\n"))

    assert list(homes.entries) == ["h1"]


def test_chinese_column_names_are_understood(tmp_path):
    homes = read(tmp_path / "h.csv", "小区,楼栋,住户,地址,类型,传感器\ns1,b1,h1,301,红外,m1\n")

    assert homes.entries["h1"].sensors[0].kind == "motion"


def test_columns_may_stand_in_any_order_and_optional_ones_may_be_missing(tmp_path):
    homes = read(tmp_path / "h.csv", "sensor,kind,label,home,site\np1,power,301,h1,s1\n")

    assert homes.entries["h1"].building_id == ""


@pytest.mark.parametrize(
    ("word", "kind"),
    [("current", "power"), ("infrared", "motion"), ("Infrared", "motion"), ("烟感", "smoke"), ("紧急按钮", "panic")],
)
def test_kind_is_known_by_its_other_names(tmp_path, word, kind):
    homes = read(tmp_path / "h.csv", HEADER + ROW.replace("power", word))

    assert homes.topics["guard/s1/h1/p1"].kind == kind


def test_kind_words_name_every_kind():
    assert set(KIND_WORDS.values()) == set(KINDS)


def test_topic_tells_whose_it_is(tmp_path):
    door = "s1,b1,h1,三号楼301,door,d1,zigbee2mqtt/Front Door,zigbee2mqtt,,,\n"

    homes = read(tmp_path / "h.csv", HEADER + door + ROW)

    assert homes.topics["zigbee2mqtt/Front Door"] == ("s1", "h1", "d1", "door", "zigbee2mqtt")
    assert homes.topics["guard/s1/h1/p1"] == ("s1", "h1", "p1", "power", "own")


def test_a_sensor_has_no_other_topic_than_its_own_and_all_of_them_are_listed(tmp_path):
    door = "s1,b1,h1,三号楼301,door,d1,zigbee2mqtt/Front Door,zigbee2mqtt,,,\n"
    smoke = "s1,b1,h1,三号楼301,smoke,s1,old/smoke,,,,\n"

    topics = read(tmp_path / "h.csv", HEADER + door + ROW + smoke).topics

    assert list(topics) == ["zigbee2mqtt/Front Door", "guard/s1/h1/p1", "old/smoke"]
    assert len(topics) == 3
    assert list(topics.of_kinds({"door", "smoke"})) == ["zigbee2mqtt/Front Door", "old/smoke"]
    strange = ["guard/s1/h1/d1", "guard/s1/h1/s1", "guard/s2/h1/p1", "guard/s1/h2/p1", "guard/s1/h1/p1/", "x/s1/h1/p1"]
    assert [topic for topic in strange if topic in topics] == []


def test_sensor_is_observed_for_twice_its_interval_else_as_its_kind_is(tmp_path):
    homes = read(tmp_path / "h.csv", HEADER + ROW + "s1,b1,h1,,smoke,k1,,,24h,,\ns1,b1,h1,,motion,m1,,,,,\n")

    assert [sensor.observed_for for sensor in homes.entries["h1"].sensors] == [HOUR, 2 * DAY, 25 * HOUR]


def test_meter_of_intervals_is_told_its_interval(tmp_path):
    homes = read(tmp_path / "h.csv", HEADER + "s1,b1,h1,,power,p1,,,30m,interval,30m\n" + ROW.replace("p1", "p2"))

    meters = [(sensor.meter, sensor.interval) for sensor in homes.entries["h1"].sensors]
    assert meters == [("interval", 30 * MINUTE), ("counter", None)]


def test_rules_switched_off_anywhere_in_a_home_are_off_in_the_home(tmp_path):
    content = "site,home,label,kind,sensor,rules_off\ns1,h1,301,power,p1,\ns1,h1,,motion,m1,no_movement;water_none\n"

    assert read(tmp_path / "h.csv", content).entries["h1"].rules_off == ("no_movement", "water_none")


def test_yaml_says_the_same_as_the_table(tmp_path):
    table = read(tmp_path / "h.csv", HEADER + ROW + "s1,,h2,302,panic,b1,,,,,\n")
    tree = read(
        tmp_path / "h.yaml",
        """sites:
  - id: s1
    buildings:
      - {id: b1, homes: [{id: h1, label: 三号楼301, sensors: [{id: p1, kind: current}]}]}
    homes:
      - {id: h2, label: "302", sensors: [{id: b1, kind: panic}]}
""",
    )

    assert tree.topics == table.topics
    assert {home.home_id: (home.label, home.building_id, home.sensors) for home in tree.entries.values()} == {
        home.home_id: (home.label, home.building_id, home.sensors) for home in table.entries.values()
    }


def test_fault_in_yaml_homes_is_told_where_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("h.yaml").write_text(
        """sites:
  - id: s1
    homes:
      - id: gateway
        label: "301"
        sensors:
          - {id: p1, kind: powr, expect_every: 1x}
          - {id: p1, kind: power, topic: "#"}
""",
        encoding="utf-8",
    )
    problems = []

    assert read_homes(Path("h.yaml"), problems) is None
    assert [str(problem).partition("; ")[0] for problem in problems] == [
        "h.yaml:4:13: sites.0.homes.0.id: gateway is the box itself",
        "h.yaml:7:28: sites.0.homes.0.sensors.0.kind: write door, smoke, water, power, motion or panic, not 'powr'",
        "h.yaml:7:48: sites.0.homes.0.sensors.0.expect_every: write a duration such as 12h, 30m, 45s or 2d, not '1x'",
    ]


def test_long_labels_are_one_warning(tmp_path):
    rows = "".join(f"s1,b1,h{number},阳光花园三期北区{number}号楼,power,p1,,,,,\n" for number in range(100, 150))
    homes = read(tmp_path / "h.csv", HEADER + rows)

    assert len(homes.warnings) == 1
    assert "'阳光花园三期北区100号楼' (and 49 more)" in str(homes.warnings[0])


def test_ten_thousand_homes_are_read(tmp_path):
    kinds = ("power", "water", "motion", "door", "smoke", "panic")
    rows = (
        f"s{home // 1000},b{home // 50},h{home},{home}室,{kind},{kind},,,,,\n"
        for home in range(10_000)
        for kind in kinds
    )

    homes = read(tmp_path / "h.csv", HEADER + "".join(rows))

    assert len(homes.entries) == 10_000
    assert len(homes.topics) == 60_000
    assert len(homes.building_ids) == 200


def test_other_files_are_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("h.xlsx").write_bytes(b"PK")
    problems = []

    assert read_homes(Path("h.xlsx"), problems) is None
    assert [str(problem) for problem in problems] == [
        "h.xlsx: homes are read from a .csv or a .yaml file; from a spreadsheet, choose Save as, 'CSV UTF-8'"
    ]
