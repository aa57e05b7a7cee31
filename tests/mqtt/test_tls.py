"""TLS with a CA of our own, made by openssl: the broker's certificate is checked, and ours where it asks for one."""

import ssl
import subprocess

import pytest

from sensor_guard.config.settings import TlsSettings
from sensor_guard.model import Fault
from tests.fakes.broker import Broker
from tests.mqtt.guard import Device, Guard


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def authority(folder, name):
    # Without keyUsage, as such commands have been written for years.
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 2,
        "-subj", f"/CN={name}", "-keyout", key, "-out", certificate,
    )  # fmt: skip
    return key, certificate


def signed(folder, name, by):
    key, request, certificate = folder / f"{name}.key", folder / f"{name}.csr", folder / f"{name}.crt"
    openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
        "-keyout", key, "-out", request,
    )  # fmt: skip
    extension = folder / f"{name}.ext"
    extension.write_text(f"subjectAltName=DNS:{name}\n")
    openssl(
        "x509", "-req", "-in", request, "-CA", by[1], "-CAkey", by[0], "-days", 2, "-extfile", extension,
        "-CAcreateserial", "-out", certificate,
    )  # fmt: skip
    return key, certificate


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    ca, stranger = authority(folder, "ca"), authority(folder, "stranger")
    server, box = signed(folder, "localhost", ca), signed(folder, "box1", ca)
    return {"ca": ca, "stranger": stranger, "server": server, "box": box}


@pytest.fixture
def broker(certificates):
    lines = (
        "allow_anonymous true",
        f"cafile {certificates['ca'][1]}",
        f"certfile {certificates['server'][1]}",
        f"keyfile {certificates['server'][0]}",
        "require_certificate true",
    )
    with Broker(*lines) as running:
        yield running


def tls(certificates, *, ca="ca", own="box"):
    key, certificate = certificates[own]
    return TlsSettings().model_copy(update={"ca": certificates[ca][1], "cert": certificate, "key": key})


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("buffered", [True, False])
def test_readings_come_over_tls(broker, certificates, protocol, buffered):
    context = ssl.create_default_context(cafile=str(certificates["ca"][1]))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(certificates["box"][1], certificates["box"][0])
    with Guard(broker, host="localhost", tls=tls(certificates), protocol=protocol, buffered=buffered) as guard:
        guard.drained()
        with Device(broker, tls=context) as device:
            # More than a record of TLS, and more than a block.
            rows = [("guard/s/h1/power", b'{"power_w": %d}' % n + b" " * 900) for n in range(300)]
            device.publish_all(rows)
        assert [message.payload for message in guard.messages(300)] == [payload for _, payload in rows]
        guard.ack(guard.messages())


def test_an_authority_of_older_commands_is_one_after_an_upgrade_of_python(broker, certificates, monkeypatch):
    original = ssl.create_default_context

    def as_of_3_13(*words, **named):
        context = original(*words, **named)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_of_3_13)
    with Guard(broker, host="localhost", tls=tls(certificates)) as guard:
        guard.drained()


def test_a_broker_that_another_authority_vouches_for_is_refused(broker, certificates):
    with Guard(broker, host="localhost", tls=tls(certificates, ca="stranger")) as guard:
        fault = guard.until(lambda: guard.of(Fault))[0]
        assert "CERTIFICATE_VERIFY_FAILED" in fault.detail
        assert not guard.subscriber.bulk.is_up


def test_a_broker_of_another_name_is_refused(broker, certificates):
    with Guard(broker, host="127.0.0.1", tls=tls(certificates)) as guard:
        assert "127.0.0.1" in guard.until(lambda: guard.of(Fault))[0].detail


def test_a_client_certificate_that_is_not_there_is_an_outage_not_a_crash(broker, certificates, tmp_path):
    missing = tls(certificates).model_copy(update={"cert": tmp_path / "none.crt"})
    with Guard(broker, host="localhost", tls=missing) as guard:
        assert "FileNotFoundError" in guard.until(lambda: guard.of(Fault))[0].detail
        assert guard.subscriber.healthy()
