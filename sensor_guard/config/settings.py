"""config.yaml as typed, frozen settings. Spans are whole milliseconds, paths count from the folder of config.yaml.

Secrets are not here: see ``secrets``. What needs more than one value to judge is in ``check_settings``.
"""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, Field, ValidationInfo

from sensor_guard.config.shape import Between, Id, Strict, did_you_mean
from sensor_guard.config.source import Document
from sensor_guard.config.units import shown
from sensor_guard.errors import Problem
from sensor_guard.model import DAY, HOUR, MINUTE, SECOND, Span

TECHNICAL = "technical"
"""The ladder of the box's own faults. It must exist."""


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError(f"write the name of a file or folder, not {shown(value)}")
    folder = (info.context or {}).get("folder", Path())
    assert isinstance(folder, Path)
    return folder / value


def _host(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", value):
        return value
    hint = "; leave out what stands before ://" if isinstance(value, str) and "://" in value else ""
    raise ValueError(f"write a host name or address such as 127.0.0.1, not {shown(value)}{hint}")


def _url(value: object) -> str:
    if isinstance(value, str):
        parts = urlsplit(value)
        if parts.scheme in {"http", "https"} and parts.hostname and not re.search(r"\s", value):
            if parts.username or parts.password:
                raise ValueError("leave user and password out of the address; the token is a secret of its own")
            return value.rstrip("/")
    raise ValueError(f"write an address such as http://127.0.0.1:8086, not {shown(value)}")


def _protocol(value: object) -> str:
    if isinstance(value, (int, str)) and not isinstance(value, bool) and value in {5, "5"}:
        return "5"
    if value == "3.1.1":
        return "3.1.1"
    raise ValueError(f"write 5 or 3.1.1, not {shown(value)}")


def _timezone(value: object) -> str:
    if isinstance(value, str):
        try:
            ZoneInfo(value)
        except (ValueError, OSError, LookupError):  # ZoneInfoNotFoundError is a LookupError; "../x" is a ValueError
            near = did_you_mean(value, sorted(available_timezones()))
            near = near or did_you_mean(value.replace(" ", "_"), sorted(available_timezones()))
            raise ValueError(f"{value!r} is not a time zone; write a place such as Asia/Shanghai{near}") from None
        return value
    raise ValueError(f"write a time zone such as Asia/Shanghai, not {shown(value)}")


FilePath = Annotated[Path, BeforeValidator(_path)]
Host = Annotated[str, BeforeValidator(_host)]
Url = Annotated[str, BeforeValidator(_url)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class TlsSettings(Strict):
    """TLS to the broker: the CA that signed it, and our own certificate where the broker wants one."""

    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None


class MqttSettings(Strict):
    """The broker. The password is the secret ``mqtt_password``."""

    host: Host = "127.0.0.1"
    port: Port = 1883
    username: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    protocol: Annotated[Literal["5", "3.1.1"], BeforeValidator(_protocol)] = "5"
    keepalive: Annotated[Span, Between("10s", "1h")] = 30 * SECOND
    session_expiry: Annotated[Span, Between("1h", "365d")] = 14 * DAY
    receive_maximum: Annotated[int, Field(ge=10, le=65_535)] = 500
    buffered: bool = True
    tls: TlsSettings | None = None


class JournalSettings(Strict):
    """The one durable store of the box."""

    path: FilePath = Path("/var/lib/sensor_guard/journal.db")
    keep_readings: Annotated[Span, Between("7d", "3650d")] = 90 * DAY
    keep_alarms: Annotated[Span, Between("30d", "36500d")] = 730 * DAY


class InfluxSettings(Strict):
    """The long history. The token is the secret ``influxdb_token``."""

    url: Url = Field(examples=["http://127.0.0.1:8086"])
    bucket: Annotated[str, Field(min_length=1, max_length=256)] = Field(examples=["sensor_guard"])
    org: Annotated[str, Field(min_length=1, max_length=256)] = "-"
    timeout: Annotated[Span, Between("1s", "5m")] = 10 * SECOND


class SinksSettings(Strict):
    """Where readings and alarms are mirrored to."""

    influxdb: InfluxSettings | None = None


class ConsoleSettings(Strict):
    """Texts go to the terminal: for the demo and for tests."""


def _account_sid(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"AC[0-9a-fA-F]{32}", value):
        return value
    raise ValueError(
        f"write the Account SID from Twilio's console (AC and 32 digits or letters a-f), not {shown(value)}"
    )


def _service_sid(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"MG[0-9a-fA-F]{32}", value):
        return value
    raise ValueError(f"write the Messaging Service SID (MG and 32 digits or letters a-f), not {shown(value)}")


def _sender(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"\+[1-9][0-9]{6,14}|[A-Za-z][A-Za-z0-9 ]{0,10}", value):
        return value
    raise ValueError(f'write the sender\'s number in quotes such as "+15005550006", or a sender id, not {shown(value)}')


def _loopback_url(value: object) -> str:
    url = _url(value)
    if not is_loopback(urlsplit(url).hostname or ""):
        raise ValueError("is for tests against this machine only; leave base_url out")
    return url


class TwilioSettings(Strict):
    """SMS by Twilio. The token is the secret ``twilio_auth_token``. ``sender`` is the key ``from``."""

    account_sid: Annotated[str, BeforeValidator(_account_sid)] = Field(examples=['"AC..." (from Twilio\'s console)'])
    sender: Annotated[str, BeforeValidator(_sender)] | None = Field(default=None, alias="from")
    messaging_service_sid: Annotated[str, BeforeValidator(_service_sid)] | None = None
    validity: Annotated[Span, Between("1m", "10h")] = 10 * MINUTE
    timeout: Annotated[Span, Between("1s", "1m")] = 15 * SECOND
    base_url: Annotated[str, BeforeValidator(_loopback_url)] | None = None


class NotifiersSettings(Strict):
    """How people are told: by the first of ``order``; calls for help also by the next one while the first is down."""

    order: Annotated[tuple[Literal["twilio", "console"], ...], Field(min_length=1, strict=False)] = Field(
        examples=["[twilio]"]
    )
    console: ConsoleSettings | None = None
    twilio: TwilioSettings | None = None


class StepSettings(Strict):
    """After ``after`` without an answer, ``to`` (roles or contact ids) are told as well."""

    to: Annotated[tuple[Id, ...], Field(min_length=1, strict=False)] = Field(examples=["[worker]"])
    after: Annotated[Span, Between("0s", "7d")] = Field(examples=["0m"])


class LadderSettings(Strict):
    """Who is told, when, until somebody answers."""

    steps: Annotated[tuple[StepSettings, ...], Field(min_length=1, max_length=10, strict=False)] = Field(
        examples=["[{to: [worker], after: 0m}]"]
    )
    repeat_every: Annotated[Span, Between("1m", "7d")] = HOUR
    remind_unclosed: Annotated[Span, Between("10m", "30d")] = 12 * HOUR


class WebSettings(Strict):
    """The duty page."""

    enabled: bool = False


class HeartbeatSettings(Strict):
    """How often the outside is told that the daemon lives. The address is the secret ``heartbeat_url``."""

    every: Annotated[Span, Between("10s", "1h")] = MINUTE


def _argv(value: object) -> tuple[str, ...]:
    words = list(value) if isinstance(value, (list, tuple)) else []
    if words and all(isinstance(word, str) and word and "\0" not in word for word in words):
        if words[0].startswith("/"):
            return tuple(words)
        raise ValueError(f"write the whole path of the program, not {shown(words[0])}")
    raise ValueError(f"write a list such as [/usr/local/bin/siren], not {shown(value)}")


class HookSettings(Strict):
    """A command for a critical alarm that cannot be told to anybody: a siren, a lamp. No shell reads it."""

    command: Annotated[tuple[str, ...], BeforeValidator(_argv)] = Field(examples=["[/usr/local/bin/siren]"])
    timeout: Annotated[Span, Between("1s", "5m")] = 30 * SECOND
    repeat_every: Annotated[Span, Between("10s", "1d")] = 5 * MINUTE


class HealthSettings(Strict):
    """Where /healthz and /metrics are served, and how it is told where nobody looks."""

    host: Host = "127.0.0.1"
    port: Port = 9464
    heartbeat: HeartbeatSettings | None = None
    hook: HookSettings | None = None


class RuntimeSettings(Strict):
    """Where control.sock stands."""

    directory: FilePath = Path("/run/sensor_guard")


class LogSettings(Strict):
    """What the log looks like."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Strict):
    """The whole of config.yaml."""

    gateway: Id = Field(examples=["box1"])
    timezone: Annotated[str, BeforeValidator(_timezone)] = Field(examples=["Asia/Shanghai"])
    language: Literal["zh", "en"] = "zh"
    homes: FilePath = Field(examples=["homes.csv"])
    contacts: FilePath = Field(examples=["contacts.yaml"])
    rules: FilePath = Field(examples=["rules/"])
    lateness: Annotated[Span, Between("0s", "5m")] = 5 * SECOND
    mqtt: MqttSettings = MqttSettings()
    journal: JournalSettings = JournalSettings()
    sinks: SinksSettings = SinksSettings()
    notifiers: NotifiersSettings = Field(examples=["{order: [console], console: {}}"])
    ladders: dict[Id, LadderSettings] = Field(
        examples=["{technical: {steps: [{to: [maintainer], after: 0m}], repeat_every: 24h, remind_unclosed: 7d}}"]
    )
    web: WebSettings = WebSettings()
    health: HealthSettings = HealthSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    log: LogSettings = LogSettings()

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the homes."""
        return ZoneInfo(self.timezone)


def check_settings(document: Document, settings: Settings) -> tuple[list[Problem], list[Problem]]:
    """Check what takes more than one value to judge; give problems and warnings."""
    problems = [*_notifier_problems(document, settings), *_ladder_problems(document, settings)]
    if settings.web.enabled:
        problems.append(document.problem(("web", "enabled"), "the duty page is not part of this version; write false"))
    return problems + _tls_problems(document, settings), _warnings(document, settings)


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _notifier_problems(document: Document, settings: Settings) -> list[Problem]:
    problems: list[Problem] = []
    notifiers = settings.notifiers
    for index, name in enumerate(notifiers.order):
        if getattr(notifiers, name) is None:
            message = f"{name} has no settings; add {name}: below notifiers, or take it out of order"
            problems.append(document.problem(("notifiers", "order", index), message))
        if name in notifiers.order[:index]:
            problems.append(document.problem(("notifiers", "order", index), f"{name} stands here twice"))
    twilio = notifiers.twilio
    if twilio is not None:
        way = ("notifiers", "twilio")
        if twilio.sender is None and twilio.messaging_service_sid is None:
            problems.append(document.problem(way, 'add from: "+..." (a number of yours) or messaging_service_sid'))
        if twilio.sender is not None and twilio.messaging_service_sid is not None:
            problems.append(document.problem((*way, "from"), "write either from or messaging_service_sid, not both"))
        if (*way, "from") in document.plain and twilio.sender is not None and twilio.sender.startswith("+"):
            problems.append(document.problem((*way, "from"), f'put the number in quotes: "{twilio.sender}"'))
    return problems


def _ladder_problems(document: Document, settings: Settings) -> list[Problem]:
    problems: list[Problem] = []
    if TECHNICAL not in settings.ladders:
        message = "the ladder technical is missing: it says who is told of the box's own faults; add it"
        near = did_you_mean(TECHNICAL, settings.ladders)
        problems.append(document.problem(("ladders",), message + near))
    for name, ladder in settings.ladders.items():
        before = -1
        for index, step in enumerate(ladder.steps):
            way = ("ladders", name, "steps", index)
            if index == 0 and step.after != 0:
                problems.append(document.problem((*way, "after"), "the first step comes at once: write after: 0m"))
            elif step.after <= before:
                message = "comes no later than the step above; put the steps in order, each with a longer after"
                problems.append(document.problem((*way, "after"), message))
            before = max(before, step.after)
            problems.extend(
                document.problem((*way, "to", place), f"{person!r} stands here twice")
                for place, person in enumerate(step.to)
                if person in step.to[:place]
            )
    return problems


def _tls_problems(document: Document, settings: Settings) -> list[Problem]:
    tls = settings.mqtt.tls
    if tls is None:
        return []
    problems: list[Problem] = []
    if (tls.cert is None) != (tls.key is None):
        problems.append(document.problem(("mqtt", "tls"), "cert and key belong together; add the missing one"))
    for name in ("ca", "cert", "key"):
        path: Path | None = getattr(tls, name)
        try:
            missing = path is not None and not path.is_file()
        except PermissionError:
            continue  # whoever checks may not be whoever runs; the daemon says so itself
        if missing:
            problems.append(document.problem(("mqtt", "tls", name), f"no such file: {path}"))
    return problems


def _warnings(document: Document, settings: Settings) -> list[Problem]:
    warnings: list[Problem] = []
    if settings.mqtt.tls is None and not is_loopback(settings.mqtt.host):
        message = "readings and password go over the network unencrypted; add tls: {ca: ca.crt}, port 8883"
        warnings.append(document.problem(("mqtt", "host"), message))
    if not is_loopback(settings.health.host):
        message = "/metrics is open to everybody who reaches this address; 127.0.0.1 keeps it to this machine"
        warnings.append(document.problem(("health", "host"), message))
    hook = settings.health.hook
    if hook is not None and not os.access(hook.command[0], os.X_OK):
        message = f"{hook.command[0]} is not there, or may not be run; give it its place and chmod 755"
        warnings.append(document.problem(("health", "hook", "command"), message))
    if settings.notifiers.order[0] == "console":
        message = "texts go to the terminal and reach nobody's telephone; for service write order: [twilio]"
        warnings.append(document.problem(("notifiers", "order"), message))
    return warnings
