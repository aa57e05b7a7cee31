"""From files to the plan: who is told in which home."""

from sensor_guard.config import RESPONDER, plan_for_unknown_homes
from sensor_guard.config.builtin import FAULT_RULES
from sensor_guard.config.rules import CODE_ROOM, SEGMENT, message_length
from sensor_guard.engine.plan import Form, Ladder, Sensor, Step
from sensor_guard.model import GATEWAY, HOUR, MINUTE, SECOND

CONTACTS = """contacts:
  - {id: everywhere, name: A, phone: "+8613800000001", role: worker}
  - {id: of-site, name: B, phone: "+8613800000002", role: worker, covers: ["site:s2"]}
  - {id: of-building, name: C, phone: "+8613800000003", role: worker, covers: ["building:b1"]}
  - {id: of-home, name: D, phone: "+8613800000004", role: family, covers: ["home:h2"]}
  - {id: boss, name: E, phone: "+8613800000005", role: supervisor}
  - {id: keeper, name: F, phone: "+8613800000006", role: maintainer, covers: ["site:s2"]}
"""
HOMES = """site,building,home,label,kind,sensor
s1,b1,h1,101,power,p1
s1,b1,h2,102,power,p1
s2,,h3,103,power,p1
s1,b1,h4,104,power,p1
"""
LADDER = "{steps: [{to: [worker, family], after: 0m}, {to: [boss], after: 3m}]}"


def plan(folder, ladder=LADDER):
    folder.write("contacts.yaml", CONTACTS).write("homes.csv", HOMES)
    folder.edit("config.yaml", "{steps: [{to: [worker], after: 0m}]}", ladder)
    return folder.load().plan


def people(plan, home_id, ladder="welfare"):
    home = next(home for home in plan.homes if home.home_id == home_id)
    return [step.recipient_ids for step in dict(home.ladders)[ladder].steps]


def test_each_home_is_given_the_people_who_cover_it(folder):
    made = plan(folder)

    assert people(made, "h1") == [("everywhere", "of-building"), ("boss",)]
    assert people(made, "h2") == [("everywhere", "of-building", "of-home"), ("boss",)]
    assert people(made, "h3") == [("everywhere", "of-site"), ("boss",)]


def test_homes_with_the_same_people_share_one_ladder(folder):
    made = plan(folder)

    first, fourth = (home for home in made.homes if home.home_id in {"h1", "h4"})
    assert first.ladders is fourth.ladders


def test_person_named_by_id_is_told_whatever_he_covers(folder):
    made = plan(folder, "{steps: [{to: [worker, of-home, of-home-2], after: 0m}]}".replace(", of-home-2", ""))

    assert people(made, "h1") == [("everywhere", "of-building", "of-home")]


def test_box_tells_every_maintainer_of_its_own_faults(folder):
    made = plan(folder)

    assert made.homes[-1].home_id == GATEWAY
    assert people(made, GATEWAY, "technical") == [("keeper",)]


def test_box_has_its_own_rules_behind_the_operator_s(folder):
    made = plan(folder)

    assert [rule.rule_id for rule in made.rules] == ["low", *(rule.rule_id for rule in FAULT_RULES)]
    assert {rule.rule_id: rule.condition.hold_for for rule in FAULT_RULES if rule.condition.hold_for} == {
        "broker_offline": 60 * SECOND,
        "influxdb_offline": 15 * MINUTE,
        "clock_unsynchronised": 5 * MINUTE,
    }
    assert all(rule.condition.form is Form.FAULT and rule.ladder == "technical" for rule in FAULT_RULES)


def test_texts_of_the_box_s_faults_are_one_part():
    for rule in FAULT_RULES:
        for language, message in rule.messages:
            assert message_length(message) + CODE_ROOM <= SEGMENT, (rule.rule_id, language)


def test_step_that_reaches_nobody_is_told_once_with_the_homes(folder):
    folder.write("contacts.yaml", CONTACTS).write("homes.csv", HOMES)
    folder.edit("config.yaml", "to: [worker], after: 0m", "to: [family], after: 0m")

    assert folder.problems() == [
        "config.yaml:8:26: ladders.welfare.steps.0.to: nobody is family for 3 homes: h1, h3 or h4; "
        "add a contact that covers them, or another role to this step"
    ]


def test_rule_switched_off_in_a_home_is_off_in_the_plan(folder):
    folder.write("homes.csv", "site,home,label,kind,sensor,rules_off\ns1,h1,101,power,p1,low\n")

    assert folder.load().plan.homes[0].muted_rules == ("low",)


def test_smoke_cannot_be_switched_off_in_a_home(folder):
    folder.write("homes.csv", "site,home,label,kind,sensor,rules_off\ns1,h1,101,smoke,p1,low\n")
    folder.edit("rules/r.yaml", "{kind: power, below: 5 W, for: 12h}", "{kind: smoke, is: detected}")
    folder.edit("rules/r.yaml", "severity: warning", "severity: critical").edit("rules/r.yaml", "power_w", "smoke")
    folder.edit("rules/r.yaml", "smoke: 3", "smoke: 1")

    assert folder.problems() == [
        "homes.csv:2:6: rules_off: low cannot be switched off: smoke and the panic button are never kept back"
    ]


def test_what_works_and_may_not_be_meant_is_a_warning(folder):
    folder.edit("homes.csv", "power", "door").edit("config.yaml", "homes:", "mqtt: {host: broker.lan}\nhomes:")
    folder.edit("config.yaml", "homes:", "health: {host: 0.0.0.0}\nhomes:")
    folder.edit("config.yaml", "  technical", "  spare: {steps: [{to: [worker], after: 0m}]}\n  technical")
    folder.edit("contacts.yaml", "role: worker", "role: worker, language: en")
    folder.edit("rules/r.yaml", ', en: "{home} low"', "")

    assert folder.warnings() == [
        "config.yaml:3:14: mqtt.host: readings and password go over the network unencrypted; "
        "add tls: {ca: ca.crt}, port 8883",
        "config.yaml:4:16: health.host: /metrics is open to everybody who reaches this address; "
        "127.0.0.1 keeps it to this machine",
        "config.yaml:7:8: rules: no rule watches door sensors, of which there are 1",
        "config.yaml:8:20: notifiers.order: texts go to the terminal and reach nobody's telephone; "
        "for service write order: [twilio]",
        "config.yaml:11:3: ladders.spare: no rule uses the ladder spare",
        "rules/r.yaml:7:14: rules.0.message: has no en, which some contacts read; they get the other language",
    ]


def test_lookups_answer_for_what_is_known_and_for_what_is_gone(folder):
    config = folder.load()

    assert config.label("h1") == "3-301"
    assert config.label(GATEWAY) == "box1"
    assert config.label("gone") == "gone"
    assert config.contact("wang").phone == "+8613800000001"
    assert config.contact("gone") is None
    assert config.name("low", "zh") == "Low"
    assert config.name("disk_full", "zh") == "磁盘已满"
    assert config.message("low", "zh") == "{home} 低"
    assert config.message("gone", "zh") == "{home} gone"
    assert config.topics["guard/s1/h1/p1"].home_id == "h1"
    assert [str(file) for file in config.files] == ["config.yaml", "homes.csv", "contacts.yaml", "rules/r.yaml"]


def test_unknown_homes_are_judged_by_the_shipped_rules():
    plan = plan_for_unknown_homes(
        [("b", "m", "motion"), ("a", "x", "battery_pct"), ("a", "x", "flow_l_min"), ("a", "y", "link")],
        zone_name="Asia/Shanghai",
    )

    assert [(home.home_id, home.sensors) for home in plan.homes] == [
        ("a", (Sensor("x", "water", HOUR), Sensor("y", "door", 25 * HOUR))),
        ("b", (Sensor("m", "motion", 25 * HOUR),)),
        (GATEWAY, ()),
    ]
    assert {rule.rule_id for rule in plan.rules} > {"electricity_low", "smoke", "water_none"}
    assert dict(plan.homes[0].ladders)["welfare"] == Ladder((Step(0, (RESPONDER,)),), HOUR, 12 * HOUR)
    assert str(plan.zone) == "Asia/Shanghai"


def test_unknown_meter_is_what_the_caller_says():
    plan = plan_for_unknown_homes([("a", "x", "energy_wh")], meter="interval", observed_for={("a", "x"): 3 * HOUR})

    assert plan.homes[0].sensors == (Sensor("x", "power", 3 * HOUR, "interval"),)
