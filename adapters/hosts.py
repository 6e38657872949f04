"""What a host on the network is to us: at most two connections, and a reason when it fails."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.address import Address
from gateway.errors import DeviceFault
from gateway.model import Reason

CONNECTIONS_PER_HOST = 2
"""Cheap cameras serve four at most, and people look at them too; recorders wedge at about ten."""


class HostGate:
    """Lets at most two of us talk to one host at a time, over all adapters that share the gate."""

    def __init__(self, limit: int = CONNECTIONS_PER_HOST) -> None:
        self._limit = limit
        self._hosts: dict[str, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def connection(self, host: str) -> AsyncIterator[None]:
        """Holds one of the host's connections, waiting in turn for it. Whoever holds it has at most
        one connection open at a time, and asks for no second one: so no two can block each
        other."""
        slots, users = self._hosts.get(host) or (asyncio.Semaphore(self._limit), 0)
        self._hosts[host] = slots, users + 1
        try:
            async with slots:
                yield
        finally:
            _, users = self._hosts[host]
            if users == 1:
                del self._hosts[host]
            else:
                self._hosts[host] = slots, users - 1


READ_LIMIT = 16 * 1024
"""Bytes that wait unread before the peer is slowed down; also the longest line."""


def _tls() -> ssl.SSLContext:
    """Encryption against listeners, no proof of identity: cameras sign their certificates
    themselves, and old ones know weak ciphers only. TLS 1.2 at least."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


TLS = _tls()


# --- why a connection fails ----------------------------------------------------------------------

_REASONS = {
    errno.ECONNREFUSED: Reason.REFUSED,
    errno.ETIMEDOUT: Reason.TIMEOUT,
    errno.ECONNRESET: Reason.PROTOCOL_ERROR,
    errno.ECONNABORTED: Reason.PROTOCOL_ERROR,
    errno.EPIPE: Reason.PROTOCOL_ERROR,
}
_DETAILS = {
    Reason.REFUSED: "the host refuses connections to port {port}",
    Reason.TIMEOUT: "no answer from port {port}",
    Reason.UNREACHABLE: "no way to the host ({error})",
    Reason.PROTOCOL_ERROR: "the device closed the connection without an answer",
}
_OUR_OWN = {
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EADDRNOTAVAIL,
    errno.EPERM,
}


class HungUp(DeviceFault):
    """The device closed the connection before its answer was whole."""

    def __init__(self, protocol: str) -> None:
        super().__init__(
            Reason.PROTOCOL_ERROR, f"{protocol}: the device closed the connection without an answer"
        )


def fault_of(error: OSError, address: Address) -> DeviceFault:
    """The fault that an error of the network stands for. An error of our own (no more file
    descriptors, no local port) is no fault of the device: it is raised as it is."""
    # These two have numbers of their own: an SSLError's 1 is not EPERM.
    if isinstance(error, socket.gaierror):
        return DeviceFault(Reason.DNS_FAILURE, f"the name {address.host} is not known")
    if isinstance(error, ssl.SSLError):
        said = getattr(error, "reason", None) or "the handshake failed"
        return DeviceFault(Reason.TLS_ERROR, f"TLS: {said}")
    if error.errno in _OUR_OWN:
        raise error
    if isinstance(error, TimeoutError):
        reason = Reason.TIMEOUT
    elif isinstance(error, ConnectionError):
        reason = _REASONS.get(error.errno or errno.ECONNRESET, Reason.PROTOCOL_ERROR)
    else:
        # The rest is some form of no route; several addresses tried give no number at all.
        reason = _REASONS.get(error.errno or 0, Reason.UNREACHABLE)
    detail = _DETAILS[reason].format(port=address.port, error=error.strerror or error)
    return DeviceFault(reason, detail)


async def resolve(address: Address) -> str:
    """The first address of the host's name. Raises DeviceFault (dns_failure)."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )
    except OSError as error:
        raise fault_of(error, address) from error
    except UnicodeError as error:  # a name that no lookup can hold, such as `a..b`
        raise DeviceFault(Reason.DNS_FAILURE, f"{address.host} is not a name") from error
    return str(found[0][4][0])


async def connect(
    address: Address, timeout_s: float, *, tls: bool = True
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to `address`, under TLS where its scheme asks for it and `tls` does not decline.
    Raises DeviceFault."""
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.open_connection(
                address.host,
                address.port,
                ssl=TLS if tls and address.secure else None,
                limit=READ_LIMIT,
            )
    except OSError as error:  # TimeoutError and ssl.SSLError among them
        raise fault_of(error, address) from error
    except UnicodeError as error:
        raise DeviceFault(Reason.DNS_FAILURE, f"{address.host} is not a name") from error


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Closes a connection at once; a TLS peer is not waited for. Never raises."""
    if writer.get_extra_info("ssl_object") is not None:
        writer.transport.abort()  # an orderly TLS end waits for the peer, 30 s if it is silent
    else:
        writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        return  # it was closed by the peer first
