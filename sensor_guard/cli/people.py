"""Verbs for people: who needs help, who answers, who is away."""

from typing import Annotated, Any

import typer

from sensor_guard.cli.output import (
    NOBODY_WATCHES,
    AsJson,
    By,
    ConfigPath,
    Exit,
    fail,
    load_config,
    request,
    say_json,
    until_text,
    when,
)
from sensor_guard.clock import SystemClock
from sensor_guard.config import Config, parse_span, write_span
from sensor_guard.model import GATEWAY, AlarmOutcome

# Any: JSON of the daemon.
Json = dict[str, Any]

Alarm = Annotated[str, typer.Argument(help="The code in the text (such as K7PW), or the alarm's id.")]
HomeId = Annotated[str, typer.Argument(help="The home's id, as in the list of homes.")]
Until = Annotated[str, typer.Option("--until", help='"3d", "2026-11-30 18:00" or ISO 8601 with zone. Always ends.')]

_STATES = {
    "zh": {"active": "未响应", "acknowledged": "已响应", "cleared": "已恢复·未响应", "closed": "已关闭"},
    "en": {"active": "unanswered", "acknowledged": "answered", "cleared": "clear, unanswered", "closed": "closed"},
}
_BLIND = {
    "zh": {"no": "", "partly": "部分失明", "yes": "失明"},
    "en": {"no": "", "partly": "partly blind", "yes": "BLIND"},
}


def ack(alarm: Alarm, by: By, note: str = "", config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Answer an alarm: I have seen it and am going. The others are told to stand down."""
    _tell(request(load_config(config), "ack", target=alarm, by=by, note=note), f"{alarm}: answered by {by}.", as_json)


def close(
    alarm: Alarm,
    by: By,
    outcome: Annotated[
        str,
        typer.Option(
            "--outcome",
            metavar=f"[{'|'.join(AlarmOutcome)}]",
            help="How it ended: somebody has looked or spoken to the resident.",
        ),
    ],
    note: str = "",
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Close an alarm with its outcome. Only this ends it."""
    if outcome not in set(AlarmOutcome):
        fail(f"--outcome is one of {', '.join(AlarmOutcome)}; not {outcome!r}", Exit.USAGE)
    answer = request(load_config(config), "close", target=alarm, by=by, outcome=outcome, note=note)
    _tell(answer, f"{alarm}: closed by {by}: {outcome}.", as_json)


def away(home: HomeId, until: Until, by: By = "", config: ConfigPath = None, as_json: AsJson = False) -> None:
    """The resident is not at home until then. Smoke and panic still count."""
    loaded = load_config(config)
    end = until_text(until, loaded, SystemClock().now())
    answer = request(loaded, "away", target=home, until=end, by=by)
    _tell(answer, f"{loaded.label(home)} ({home}) is away until {end}; it comes back by itself then.", as_json)


def back(home: HomeId, by: By = "", config: ConfigPath = None, as_json: AsJson = False) -> None:
    """The resident is at home again: suspended rules start afresh."""
    loaded = load_config(config)
    answer = request(loaded, "back", target=home, by=by)
    _tell(answer, f"{loaded.label(home)} ({home}) is lived in again.", as_json)


def mute(
    rule: Annotated[str, typer.Argument(help="The rule's id. Smoke and panic can never be muted.")],
    until: Until,
    reason: Annotated[str, typer.Option("--reason", help="Why nobody shall be told; kept in the audit trail.")],
    home: Annotated[str, typer.Option("--home", help="This home only.")] = "",
    by: By = "",
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Raise nothing new of a rule until then; what is true when it ends rises at once."""
    loaded = load_config(config)
    end = until_text(until, loaded, SystemClock().now())
    answer = request(loaded, "mute", target=rule, until=end, note=reason, home=home, by=by)
    _tell(answer, f"{rule} is muted until {end}.", as_json)


def unmute(
    rule: str,
    home: Annotated[str, typer.Option("--home", help="This home only.")] = "",
    by: By = "",
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """End a mute early."""
    answer = request(load_config(config), "unmute", target=rule, home=home, by=by)
    _tell(answer, f"{rule} is not muted any more.", as_json)


def test_mode(
    home: HomeId,
    duration: Annotated[str, typer.Argument(help="How long, such as 15m; at most 4h.")] = "15m",
    by: By = "",
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Let an installer press and smoke: alarms of this home are tests and text nobody until then."""
    loaded = load_config(config)
    try:
        span = parse_span(duration)
    except ValueError as error:
        fail(str(error), Exit.USAGE)
    if not 0 < span <= 4 * 3_600_000:
        fail("a test lasts at most 4h, so that nobody forgets it", Exit.USAGE)
    end = until_text(duration, loaded, SystemClock().now())
    answer = request(loaded, "test_mode", target=home, until=end, by=by)
    _tell(answer, f"{loaded.label(home)} ({home}) is in test mode until {end}: nobody is texted.", as_json)


def notify_test(
    contact: Annotated[str, typer.Argument(help="A contact's id.")],
    by: By = "",
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Send a real text to a contact, the way an alarm would go."""
    answer = request(load_config(config), "notify_test", target=contact, by=by)
    _tell(answer, f"A test text to {contact} is on its way; `sensor-guard status` shows what waits.", as_json)


def alarms(
    everything: Annotated[bool, typer.Option("--all", help="Closed ones as well, newest first.")] = False,
    home: Annotated[str, typer.Option("--home", help="Of this home only.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="The newest only.")] = 100,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """List the alarms that nobody has closed."""
    loaded = load_config(config)
    answer = request(loaded, "alarms", all=everything, home=home, limit=limit)
    found = answer["alarms"]
    if answer.get("unlisted"):
        typer.echo(answer["unlisted"], err=True)
    if len(found) == limit:
        typer.echo(f"the newest {limit} only, there may be more: --limit {min(10 * limit, 10_000)}", err=True)
    if as_json:
        for alarm in found:
            say_json(alarm)
        return
    if not found:
        typer.echo("no alarms" if everything else "no open alarms")
    language = loaded.settings.language
    for alarm in found:
        test = "[测试 TEST] " if alarm["evidence"]["test"] else ""
        who = alarm["closed_by"] or alarm["acknowledged_by"] or ""
        outcome = f" {alarm['outcome']}" if alarm["outcome"] else ""
        # A daemon from before an update does not say it.
        code = f"[{alarm['code']}]  " if alarm.get("code") else ""
        typer.echo(
            f"{when(alarm['raised_at'], loaded)}  {test}{_STATES[language][alarm['state']]}{outcome}"
            f"  {loaded.label(alarm['home_id'])}  {loaded.name(alarm['rule_id'], language)}  {who}"
            f"  {code}[{alarm['alarm_id']}]"
        )


def alarm(alarm: Alarm, config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Show one alarm: why it rose, and every step since, from the audit trail."""
    loaded = load_config(config)
    answer = request(loaded, "alarm", target=alarm)
    if as_json:
        say_json(answer)
        return
    found, language = answer["alarm"], loaded.settings.language
    evidence = found["evidence"]
    typer.echo(f"{loaded.label(found['home_id'])}: {loaded.name(found['rule_id'], language)}  [{found['alarm_id']}]")
    if evidence["test"]:
        typer.echo("  测试 TEST: raised in test mode, nobody was texted")
    typer.echo(f"  {_STATES[language][found['state']]}; the cause began {when(evidence['since'], loaded)}")
    typer.echo(f"  observed {write_span(evidence['observed_for'])}, blind {write_span(evidence['blind_for'])}")
    for sensor in evidence["sensors"]:
        typer.echo(f"  {sensor['sensor_id']}: {sensor['quantity']} {sensor['value']} at {when(sensor['at'], loaded)}")
    for text in answer["texts"]:
        reason = f", {text['reason']}" if text["reason"] else ""
        contact = loaded.contact(text["recipient_id"])
        name = f"{contact.name} ({text['recipient_id']})" if contact else text["recipient_id"]
        typer.echo(f"  {when(text['changed_at'], loaded)}  text to {name}: {text['kind']}, {text['state']}{reason}")
    for step in answer["trail"]:
        if step["what"] == "notification":
            continue  # told above, with names
        if step["what"] == "refusal":
            typer.echo(f"  {when(step['at'], loaded)}  REFUSED, nothing was changed: {step['note']}")
            continue
        change = f"{step['before']} > {step['after']}" if step["before"] else step["after"]
        by = f"  by {step['actor_id']}" if step["actor_id"] else ""
        typer.echo(f"  {when(step['at'], loaded)}  {step['what']}: {change}  {step['reason']}{by}  {step['note']}")


def homes(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """List every home: last sign of life, since when it is blind, batteries, away, open alarms."""
    loaded = load_config(config)
    found = request(loaded, "homes")["homes"]
    for home in found:
        if as_json:
            say_json({**home, "label": loaded.label(home["home_id"])})
        else:
            typer.echo(_home_line(home, loaded))


def _home_line(home: Json, loaded: Config) -> str:
    language = loaded.settings.language
    batteries = [s for s in home["sensors"] if s["battery_pct"] is not None and s["battery_pct"] < 15]
    # Which sensors, where it is not all of them: that is what somebody goes there for.
    unseen = [s["sensor_id"] for s in home["sensors"] if not s["observed"]] if home["blind"] == "partly" else []
    notes = [
        f"{_BLIND[language][home['blind']]} {' '.join(unseen)}".rstrip()
        + f" ({when(home['blind_since'], loaded, never='never heard')})"
        if home["blind"] != "no"
        else "",
        f"away until {when(home['away_until'], loaded)}" if home["away"] else "",
        f"test until {when(home['test_until'], loaded)}" if home["test_until"] else "",
        *(f"{rule} muted until {when(until, loaded)}" for rule, until in home["muted_until"].items()),
        *(f"battery {s['sensor_id']} {s['battery_pct']:g} %" for s in batteries),
        f"{len(home['open_alarms'])} open alarm(s)" if home["open_alarms"] else "",
    ]
    sign = when(home["last_sign_at"], loaded, never="no sign of life yet")
    told = "; ".join(note for note in notes if note)
    return f"{home['home_id']:<16} {loaded.label(home['home_id'])}  {sign}  {told}".rstrip()


def status(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Say how the daemon is: connections, backlogs, texts that wait, faults of the box."""
    loaded = load_config(config)
    answer = request(loaded, "status")
    faults = [a for a in request(loaded, "alarms", warns=False, home=GATEWAY)["alarms"] if a["condition"] == "true"]
    untold = answer.get("untold", [])
    # A mute or a closing keeps an alarm away; the fault is there all the same. A daemon from before does not say it.
    told = [fault["rule_id"] for fault in faults]
    silent = [rule_id for rule_id in answer.pop("holding", []) if rule_id not in told]
    if as_json:
        say_json({**answer, "faults": [*told, *silent]})
    else:
        if not answer.get("running"):
            typer.echo(NOBODY_WATCHES)
        for key, value in answer.items():
            if key == "untold":
                continue
            text = when(value, loaded) if key.endswith("_at") else value
            if isinstance(value, dict):
                text = ", ".join(f"{number} {word}" for word, number in value.items() if number) or "none under way"
            typer.echo(f"{key.replace('_', ' ')}: {text}")
        for word in untold:
            typer.echo(f"无人知晓 UNTOLD: {word}: nobody could be told of it")
        for fault in faults:
            name = loaded.name(fault["rule_id"], loaded.settings.language)
            typer.echo(f"FAULT since {when(fault['raised_at'], loaded)}: {name} {fault['evidence']['detail']}")
        for rule_id in silent:
            name = loaded.name(rule_id, loaded.settings.language)
            typer.echo(f"FAULT: {name}: holds, though its alarm is muted or closed")
    # Wrong files count whether or not their alarm has been closed: the next start needs them.
    if faults or silent or untold or "files" in answer or not answer.get("running"):
        raise typer.Exit(int(Exit.FAULTS))


def _tell(answer: Json, sentence: str, as_json: bool) -> None:
    if as_json:
        say_json(answer)
    else:
        typer.echo(sentence)
