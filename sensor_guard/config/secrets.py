"""Secrets and the environment: the only place that reads either.

A secret comes from systemd's credentials, else from a file that ``SENSOR_GUARD_<NAME>_FILE`` names, else from
``SENSOR_GUARD_<NAME>``. It is read anew whenever it is needed, so that a rotated token counts without a restart.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sensor_guard.config.settings import Settings
from sensor_guard.config.source import read_bytes
from sensor_guard.errors import ConfigError, Problem
from sensor_guard.model import Span

MQTT_PASSWORD = "mqtt_password"  # noqa: S105 - names, not secrets
TWILIO_AUTH_TOKEN = "twilio_auth_token"  # noqa: S105
INFLUXDB_TOKEN = "influxdb_token"  # noqa: S105
HEARTBEAT_URL = "heartbeat_url"
SECRETS = (MQTT_PASSWORD, TWILIO_AUTH_TOKEN, INFLUXDB_TOKEN, HEARTBEAT_URL)
SECRET_LIMIT = 64 * 1024
"""Largest file of a secret in bytes; a systemd credential may be 1 MiB, a password is none of that."""
DEFAULT_CONFIG = Path("/etc/sensor_guard/config.yaml")


@dataclass(frozen=True, slots=True)
class ServiceEnvironment:
    """What systemd and the operator tell the process: where config.yaml is, whom to notify, how often."""

    config_path: Path
    notify_socket: str | None
    watchdog_every: Span | None


def service_environment(environ: Mapping[str, str] = os.environ) -> ServiceEnvironment:
    """Read SENSOR_GUARD_CONFIG, NOTIFY_SOCKET and WATCHDOG_USEC; the watchdog wants a sign within the latter."""
    usec = environ.get("WATCHDOG_USEC", "")
    return ServiceEnvironment(
        Path(environ.get("SENSOR_GUARD_CONFIG") or DEFAULT_CONFIG),
        environ.get("NOTIFY_SOCKET") or None,
        int(usec) // 1_000 if usec.isdigit() and int(usec) else None,
    )


def read_secret(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Read the secret ``name``, one of ``SECRETS``; a line break at its end is not part of it.

    Raises:
        ConfigError: it is nowhere, empty, or its file cannot be read; the message never contains it.
    """
    assert name in SECRETS
    variable = f"SENSOR_GUARD_{name.upper()}"
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder and (Path(folder) / name).exists():
        return _read_file(Path(folder) / name, name)
    named = environ.get(f"{variable}_FILE")
    if named:
        return _read_file(Path(named), name)
    value = environ.get(variable, "")
    if not value:
        message = f"the secret {name} is missing; give it as a systemd credential, or name its file in {variable}_FILE"
        raise ConfigError([Problem(variable, 0, 0, "", message)])
    return value


def has_secret(name: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether the secret can be read."""
    try:
        return bool(read_secret(name, environ))
    except ConfigError:
        return False


def needed_secrets(settings: Settings) -> tuple[str, ...]:
    """List the secrets that these settings need."""
    needed = []
    if settings.mqtt.username is not None:
        needed.append(MQTT_PASSWORD)
    if "twilio" in settings.notifiers.order:
        needed.append(TWILIO_AUTH_TOKEN)
    if settings.sinks.influxdb is not None:
        needed.append(INFLUXDB_TOKEN)
    if settings.health.heartbeat is not None:
        needed.append(HEARTBEAT_URL)
    return tuple(needed)


def _read_file(path: Path, name: str) -> str:
    problems: list[Problem] = []
    raw = read_bytes(path, problems, limit=SECRET_LIMIT)
    if raw is None:
        raise ConfigError(problems)
    try:
        value = raw.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        # The cause is left out: it would carry the bytes of the secret into a traceback.
        raise ConfigError([Problem(str(path), 0, 0, "", f"the secret {name} is not UTF-8 text")]) from None
    if not value or "\n" in value:
        word = "empty" if not value else "more than one line"
        raise ConfigError([Problem(str(path), 0, 0, "", f"the secret {name} is {word}; write it as a single line")])
    return value
