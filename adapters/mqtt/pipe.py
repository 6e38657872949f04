"""paho on a pipe in place of a socket.

paho never waits then, and needs no thread: `connect()` on a socket of its own would stop the loop
for 5 s before a black hole, and once more for TLS. What it reads are whole packets; what it writes
goes to the loop's transport, which takes everything.
"""

from __future__ import annotations

import asyncio

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion


class Pipe:
    """What paho takes for its socket (its `SocketLike`)."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.left_to_peer = False
        self._incoming = b""

    # --- our end ----------------------------------------------------------------------------------

    def feed(self, packet: bytes) -> None:
        """What paho reads next."""
        self._incoming += packet

    def write(self, packets: bytes) -> None:
        """Sends, past paho. Nothing once the connection has ended."""
        if packets and self.transport is not None and not self.transport.is_closing():
            self.transport.write(packets)

    def leave_to_peer(self) -> None:
        """From here on paho's closing is left to the peer, who does it on DISCONNECT; what it still
        sends is read, and by nobody."""
        self.left_to_peer = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def abort(self) -> None:
        """Closes at once, whatever is still to be sent."""
        if self.transport is not None:
            self.transport.abort()

    # --- paho's end -------------------------------------------------------------------------------

    def recv(self, buffer_size: int) -> bytes:
        if not self._incoming:
            raise BlockingIOError
        received, self._incoming = self._incoming[:buffer_size], self._incoming[buffer_size:]
        return received

    def send(self, buffer: bytes | bytearray) -> int:
        self.write(bytes(buffer))
        return len(buffer)

    def close(self) -> None:
        if self.transport is not None and not self.left_to_peer:
            self.transport.close()

    def fileno(self) -> int:
        return -1

    def setblocking(self, flag: bool) -> None:
        """Never blocks."""


class PipedClient(Client):
    """paho, with a pipe. `_create_socket` is private to paho: verified with 2.1 and 2.2, and
    tests/mqtt/test_pipe.py fails where paho no longer asks it."""

    def __init__(
        self,
        pipe: Pipe,
        client_id: str,
        protocol: MQTTProtocolVersion,
        *,
        clean_session: bool | None,
    ) -> None:
        self._pipe = pipe
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=clean_session,
            protocol=protocol,
            reconnect_on_failure=False,  # else paho tries MQTT 3.1 by itself when refused
            manual_ack=True,
        )

    def _create_socket(self) -> Pipe:
        return self._pipe
