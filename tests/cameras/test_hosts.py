"""What a host is to us: two connections, and the reason when one fails."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl

import pytest

from adapters.address import Address
from adapters.hosts import HostGate, connect, fault_of, resolve
from gateway.errors import DeviceFault
from gateway.model import Reason
from tests.simulated_clock import settled

ADDRESS = Address(scheme="http", host="camera", port=8080)


async def test_two_at_a_time_in_the_order_of_coming() -> None:
    gate = HostGate()
    inside: list[int] = []
    leave = {number: asyncio.Event() for number in range(5)}

    async def visit(number: int) -> None:
        async with gate.connection("h"):
            inside.append(number)
            await leave[number].wait()

    async with asyncio.TaskGroup() as visits:
        for number in range(5):
            visits.create_task(visit(number))
        await settled()
        assert inside == [0, 1]
        leave[1].set()
        await settled()
        assert inside == [0, 1, 2]
        for event in leave.values():
            event.set()
    assert inside == [0, 1, 2, 3, 4]


async def test_hosts_do_not_wait_for_one_another() -> None:
    gate = HostGate()
    async with gate.connection("a"), gate.connection("a"), gate.connection("b"):
        pass


async def test_whoever_gives_up_waiting_leaves_no_trace() -> None:
    gate = HostGate()
    async with gate.connection("h"), gate.connection("h"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), gate.connection("h"):
                pytest.fail("a third one came in")
    assert not gate._hosts


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), Reason.REFUSED),
        (TimeoutError(), Reason.TIMEOUT),
        (OSError(errno.ETIMEDOUT, "x"), Reason.TIMEOUT),
        (OSError(errno.EHOSTUNREACH, "x"), Reason.UNREACHABLE),
        (OSError(errno.ENETUNREACH, "x"), Reason.UNREACHABLE),
        (OSError("Multiple exceptions: …"), Reason.UNREACHABLE),
        (ConnectionResetError(errno.ECONNRESET, "x"), Reason.PROTOCOL_ERROR),
        (BrokenPipeError(errno.EPIPE, "x"), Reason.PROTOCOL_ERROR),
        (ConnectionResetError(), Reason.PROTOCOL_ERROR),
        (socket.gaierror(socket.EAI_NONAME, "x"), Reason.DNS_FAILURE),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), Reason.TLS_ERROR),
    ],
)
def test_each_error_of_the_network_has_its_reason(error: OSError, reason: Reason) -> None:
    assert fault_of(error, ADDRESS).reason is reason


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.EPERM]
)
def test_our_own_wants_are_no_fault_of_the_device(number: int) -> None:
    error = OSError(number, "x")
    with pytest.raises(OSError, match="x") as raised:
        fault_of(error, ADDRESS)
    assert raised.value is error


@pytest.mark.parametrize("host", ["camera.invalid", "a..b", "x" * 300])
async def test_a_name_that_leads_nowhere_is_a_dns_failure(host: str) -> None:
    address = Address(scheme="rtsp", host=host, port=554)
    for attempt in (resolve(address), connect(address, 5.0)):
        with pytest.raises(DeviceFault) as raised:
            await attempt
        assert raised.value.reason is Reason.DNS_FAILURE


async def test_no_answer_to_a_connection_is_a_timeout() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = Address(scheme="rtsp", host="127.0.0.1", port=full.getsockname()[1])
        # With the queue of connections full, further ones get no answer.
        filling = [socket.socket() for _ in range(4)]
        try:
            for one in filling:
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            with pytest.raises(DeviceFault) as raised:
                await connect(address, 0.2)
        finally:
            for one in filling:
                one.close()
    assert raised.value.reason is Reason.TIMEOUT
