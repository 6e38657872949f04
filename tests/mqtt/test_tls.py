"""TLS to the broker: certificates are checked, and nothing of it stops the loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop

from adapters.mqtt import Broker, MqttAdapter, MqttSettings
from gateway.clock import SystemClock
from tests.mqtt.neighbours import KEY, Gate, NotedMetrics, button, inventory, running, turnstile
from tests.peers import free_port, require, until
from tests.rig import Mosquitto, passed, press

TLS_CONF = """
user root
allow_anonymous true
listener {port} 127.0.0.1
cafile {folder}/ca.crt
certfile {folder}/server.crt
keyfile {folder}/server.key
require_certificate true
listener %PLAIN% 127.0.0.1
"""


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run([require("openssl"), *arguments], cwd=folder, check=True, capture_output=True)


def authority(folder: Path, name: str) -> None:
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(folder, *new, "-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}")


def certificate(folder: Path, name: str, by: str, alternative: str) -> None:
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(folder, *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    (folder / f"{name}.ext").write_text(f"subjectAltName={alternative}\n")
    signed = ("x509", "-req", "-CA", f"{by}.crt", "-CAkey", f"{by}.key", "-CAcreateserial")
    named = ("-in", f"{name}.csr", "-out", f"{name}.crt", "-extfile", f"{name}.ext")
    _openssl(folder, *signed, *named)


class TlsBroker:
    """A mosquitto with TLS for the gateway, and a plain listener for the test's own publishing."""

    def __init__(self, folder: Path, alternative: str = "IP:127.0.0.1") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        authority(folder, "ca")
        certificate(folder, "server", "ca", alternative)
        certificate(folder, "client", "ca", "DNS:gateway")
        self.plain_port = free_port()
        self.folder = folder
        self.mosquitto = Mosquitto(folder, TLS_CONF.replace("%PLAIN%", str(self.plain_port)))

    async def publish(self, topic: str, *payloads: bytes) -> None:
        process = await asyncio.create_subprocess_exec(
            require("mosquitto_pub"),
            *("-p", str(self.plain_port), "-t", topic, "-q", "1", "-l"),
            stdin=asyncio.subprocess.PIPE,
        )
        await process.communicate(b"\n".join(payloads))
        assert process.returncode == 0

    def adapter(
        self, data_dir: Path, metrics: NotedMetrics | None = None, *, ca: str = "ca"
    ) -> MqttAdapter:
        return MqttAdapter(
            name="mqtt",
            settings=MqttSettings(
                broker=Broker(host="127.0.0.1", port=self.mosquitto.port, tls=True),
                client_id="kuzet",
                ca_file=self.folder / f"{ca}.crt",
                cert_file=self.folder / "client.crt",
                key_file=self.folder / "client.key",
                pseudonym_key=KEY,
            ),
            inventory=inventory(button(), turnstile()),
            clock=SystemClock(),
            metrics=metrics or NotedMetrics(),
            data_dir=data_dir,
        )


@contextlib.asynccontextmanager
async def tls_broker(folder: Path, alternative: str = "IP:127.0.0.1") -> AsyncIterator[TlsBroker]:
    broker = TlsBroker(folder, alternative)
    async with broker.mosquitto:
        yield broker


async def nothing_stays_behind(tmp_path: Path) -> None:
    """Many messages in few TLS records: none may wait in a buffer for the next one."""
    async with tls_broker(tmp_path / "broker") as broker:
        gate = Gate()
        async with running(broker.adapter(tmp_path), gate):
            topic = "kuzet/school-1/turnstile-1/event"
            await broker.publish(topic, *(passed(f"{number}") for number in range(3000)))
            await until(lambda: len(gate.events) == 3000)
            await broker.publish("kuzet/school-1/button-1/event", press("press"))
            await until(lambda: gate.presses)


async def test_messages_pass_and_nothing_stays_behind(tmp_path: Path) -> None:
    await nothing_stays_behind(tmp_path)


def test_messages_pass_on_uvloop_too(tmp_path: Path) -> None:
    uvloop.run(nothing_stays_behind(tmp_path))


@pytest.mark.parametrize("alternative", ["IP:127.0.0.2", "DNS:localhost"])
async def test_a_broker_of_another_name_is_not_trusted(
    tmp_path: Path, alternative: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        tls_broker(tmp_path / "broker", alternative) as broker,
        running(broker.adapter(tmp_path), Gate(), listening=False),
    ):
        await until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)


async def test_a_broker_of_another_authority_is_not_trusted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with tls_broker(tmp_path / "broker") as broker:
        authority(broker.folder, "other")
        async with running(broker.adapter(tmp_path, ca="other"), Gate(), listening=False):
            await until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)


async def test_certificates_that_are_mended_are_taken_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with tls_broker(tmp_path / "broker") as broker:
        mqtt = broker.adapter(tmp_path, ca="late")
        async with running(mqtt, Gate(), listening=False):
            await until(lambda: "certificates cannot be used" in caplog.text)
            (broker.folder / "late.crt").write_bytes((broker.folder / "ca.crt").read_bytes())
            await until(lambda: all(mqtt.brokers().values()))


async def test_an_encrypted_key_asks_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with tls_broker(tmp_path / "broker") as broker:
        plain, encrypted = broker.folder / "client.key", broker.folder / "encrypted.key"
        locked = ("-aes256", "-passout", "pass:secret")
        _openssl(broker.folder, "ec", "-in", "client.key", "-out", "encrypted.key", *locked)
        encrypted.rename(plain)
        async with running(broker.adapter(tmp_path), Gate(), listening=False):
            await until(lambda: "certificates cannot be used" in caplog.text)


async def test_a_handshake_without_an_answer_does_not_stop_the_leaving(tmp_path: Path) -> None:
    broker = TlsBroker(tmp_path / "broker")
    with socket.create_server(("127.0.0.1", broker.mosquitto.port)) as silent:
        async with asyncio.timeout(3), running(broker.adapter(tmp_path), Gate(), listening=False):
            accepted, _ = await asyncio.to_thread(silent.accept)
            with accepted:
                assert await asyncio.to_thread(accepted.recv, 1) == b"\x16", "a ClientHello"
