"""Where secrets come from, and that they go nowhere else."""

import pytest

from sensor_guard.config import has_secret, needed_secrets, read_secret, service_environment
from sensor_guard.errors import ConfigError


def test_systemd_credential_comes_before_file_and_variable(tmp_path):
    (tmp_path / "mqtt_password").write_text("from systemd\n", encoding="utf-8")
    (tmp_path / "other").write_text("from file\n", encoding="utf-8")
    environ = {
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "SENSOR_GUARD_MQTT_PASSWORD_FILE": str(tmp_path / "other"),
        "SENSOR_GUARD_MQTT_PASSWORD": "from variable",
    }

    assert read_secret("mqtt_password", environ) == "from systemd"
    del environ["CREDENTIALS_DIRECTORY"]
    assert read_secret("mqtt_password", environ) == "from file"
    del environ["SENSOR_GUARD_MQTT_PASSWORD_FILE"]
    assert read_secret("mqtt_password", environ) == "from variable"


def test_credentials_directory_without_this_secret_is_no_obstacle(tmp_path):
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "SENSOR_GUARD_INFLUXDB_TOKEN": "t"}

    assert read_secret("influxdb_token", environ) == "t"


def test_rotated_secret_is_read_anew(tmp_path):
    file = tmp_path / "influxdb_token"
    file.write_text("old", encoding="utf-8")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_secret("influxdb_token", environ) == "old"

    file.write_text("new", encoding="utf-8")

    assert read_secret("influxdb_token", environ) == "new"


def test_missing_secret_is_told_with_the_way_out():
    with pytest.raises(ConfigError, match="name its file in SENSOR_GUARD_TWILIO_AUTH_TOKEN_FILE"):
        read_secret("twilio_auth_token", {})
    assert not has_secret("twilio_auth_token", {})


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"hunter2\nx", "more than one"), (b"hunter2\xff", "UTF-8")],
)
def test_damaged_secret_is_told_and_not_shown(tmp_path, content, said):
    (tmp_path / "s").write_bytes(content)

    with pytest.raises(ConfigError, match=said) as caught:
        read_secret("mqtt_password", {"SENSOR_GUARD_MQTT_PASSWORD_FILE": str(tmp_path / "s")})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_named_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_secret("mqtt_password", {"SENSOR_GUARD_MQTT_PASSWORD_FILE": str(tmp_path / "nowhere")})


def test_settings_say_which_secrets_they_need(folder):
    assert needed_secrets(folder.load().settings) == ()

    sink = "sinks: {influxdb: {url: http://127.0.0.1:8086, bucket: b}}"
    folder.edit("config.yaml", "rules: rules/", f"rules: rules/\nmqtt: {{username: u}}\n{sink}")
    folder.edit(
        "config.yaml",
        "{order: [console], console: {}}",
        '{order: [twilio], twilio: {account_sid: AC00000000000000000000000000000000, from: "+15005550006"}}',
    )
    assert needed_secrets(folder.load().settings) == ("mqtt_password", "twilio_auth_token", "influxdb_token")


def test_environment_of_the_service_is_read_here():
    empty = service_environment({})
    assert (str(empty.config_path), empty.notify_socket, empty.watchdog_every) == (
        "/etc/sensor_guard/config.yaml",
        None,
        None,
    )

    full = service_environment({"SENSOR_GUARD_CONFIG": "/x.yaml", "NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "30000000"})
    assert (str(full.config_path), full.notify_socket, full.watchdog_every) == ("/x.yaml", "@n", 30_000)
