"""From a recorded meter through a real broker to an SMS by the real client, answered and closed; and into InfluxDB."""

import threading

from sensor_guard.config import load
from sensor_guard.engine.plan import Plan
from sensor_guard.model import HOUR, Reading
from sensor_guard.replay import Replay
from simulators import scenario
from simulators.publish import Broker as Address
from simulators.publish import Publisher
from simulators.roster import rows_seen, topic_of
from tests.fakes.influx_shim import WriteShim
from tests.fakes.influxd import Influxd
from tests.fakes.twilio import ACCOUNT_SID, AUTH_TOKEN, SENDER, FakeTwilio

TAPS = {"kitchenfaucet", "washbasin", "bidet", "shower"}
QUIET_WATER = """\
rules:
  - id: water_quiet
    name: {zh: 三小时未用水, en: No water for three hours}
    when: {kind: water, is: quiet, for: 3h}
    severity: warning
    ladder: welfare
    message: {zh: "{home} 已{held}未用水，请上门查看", en: "{home}: no water for {held}. Go and look."}
"""


def a_recorded_night() -> list[Reading]:
    """Four taps of a flat in Naples, from ten in the evening to six (recorded, moved to the demo's Sunday)."""
    start = scenario.STARTS_AT + 4 * HOUR + HOUR // 2
    return [r for r in scenario.recorded() if r.sensor_id in TAPS and start <= r.received_at < start + 8 * HOUR]


def raised_in_replay(plan: Plan, readings: list[Reading], *, plan_at: int) -> set[tuple[str, str, int]]:
    """Say what the engine alone finds in the same readings: the oracle of what the whole line must find."""
    found = set()

    def tell(transition, alarm):
        if transition.reason == "raised" and alarm.home_id != "gateway":
            found.add((alarm.home_id, alarm.rule_id, alarm.raised_at))

    first = readings[0]._replace(observed_at=plan_at, received_at=plan_at, quantity="link", value=1.0)
    Replay(plan, tell, responder="none", in_order=False).run([first, *readings])
    return found


def publish(daemon, readings, port, client_id="sensors"):
    """Publish on the daemon's clock, on a thread; give the thread and what it will have done."""
    publisher = Publisher(
        Address(port=port, client_id=client_id),
        lambda home, sensor: topic_of("demo", home, sensor),
        clock=daemon.clock,
    )
    thread = threading.Thread(target=publisher.run, args=(readings,), daemon=True)
    thread.start()
    return thread, publisher


def test_recorded_water_becomes_a_text_that_is_answered_and_closed_and_a_history(daemons, broker, tmp_path):
    readings = a_recorded_night()
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "quiet.yaml").write_text(QUIET_WATER, encoding="utf-8")
    expect_every = dict.fromkeys(TAPS, 2 * HOUR)
    rows = rows_seen(readings, expect_every=expect_every, site="demo", building="b2", label="2号楼201室")
    factor, epoch = 2_880.0, readings[0].received_at - 4 * HOUR
    with Influxd() as influxd, WriteShim(influxd.port) as shim:
        influxd.create("history")
        more = (
            f'notifiers: {{order: [twilio], twilio: {{account_sid: "{ACCOUNT_SID}", from: "{SENDER}",'
            f' base_url: "%s"}}}}\n'
            f"sinks: {{influxdb: {{url: http://127.0.0.1:{shim.port}, bucket: history, org: o}}}}"
        )
        with FakeTwilio() as twilio:
            daemon = daemons(
                rows,
                clock=(epoch, factor),
                more=more % twilio.url,
                rules=rules,
                environment={"SENSOR_GUARD_TWILIO_AUTH_TOKEN": AUTH_TOKEN, "SENSOR_GUARD_INFLUXDB_TOKEN": "t"},
            )
            twilio.clock = daemon.clock.now
            daemon.start()
            thread, publisher = publish(daemon, readings, broker.port)
            expected = raised_in_replay(load(daemon.config).plan, readings, plan_at=epoch)
            assert len(expected) == 1
            daemon.until(lambda: daemon.alarms() and twilio.posts())

            text = twilio.texts[0]
            assert text.to == "+12025550100"
            assert text.body.startswith("2号楼201室 已3小时未用水")
            assert len(text.body) <= 70
            code = text.body.split("[")[1][:4]
            answered = daemon.run("ack", code, "--by", "worker-1")
            assert (answered.returncode, answered.stderr) == (0, "")
            closed = daemon.run("close", code, "--by", "worker-1", "--outcome", "fine", "--note", "asleep")
            assert closed.returncode == 0, closed.stderr
            (alarm,) = [alarm for alarm in daemon.alarms() if alarm["home_id"] != "gateway"]
            assert (alarm["home_id"], alarm["rule_id"], alarm["raised_at"]) in expected
            assert (alarm["state"], alarm["outcome"], alarm["closed_by"]) == ("closed", "fine", "worker-1")

            thread.join(40)
            assert publisher.tally.is_complete
            stored = {(r.sensor_id, r.observed_at, r.value) for r in readings}
            count = 'SELECT count("value") FROM "reading" WHERE quantity = \'flow_l_min\''
            daemon.until(lambda: _count(influxd.execute(count, "history")) >= len(stored))
            assert _count(influxd.execute(count, "history")) == len(stored)
            daemon.until(lambda: influxd.execute("SELECT * FROM \"alarm\" WHERE event = 'closed'", "history"))
            assert daemon.stop() == 0
            assert len(twilio.texts) == 1  # nobody else was told, so nobody had to stand down
    log = daemon.log()
    for secret in (AUTH_TOKEN, "2025550100", "李社工", "2号楼201室"):
        assert secret not in log


def _count(series) -> int:
    return series[0]["values"][0][1] if series else 0
