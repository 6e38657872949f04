"""A TCP port that can be closed and opened again without losing it to a stranger."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

BACKLOG = 128


class Port:
    """One TCP port of one address. Closed it refuses connections, and stays ours.

    A device that loses its power keeps its address: so does this. While closed, the port is held
    by a socket that is bound and does not listen, which Linux answers with a reset.
    """

    def __init__(self, host: str, number: int = 0) -> None:
        """Takes the port, 0 for any free one. Raises OSError when it is taken."""
        self.host = host
        self._held: socket.socket | None = _bound(host, number)
        self._server: asyncio.Server | None = None
        self.number: int = self._held.getsockname()[1]

    @property
    def is_open(self) -> bool:
        return self._server is not None

    async def open(self, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """Accepts connections, each served by a protocol from `factory`."""
        if self._server is not None:
            return
        held = self._held or _bound(self.host, self.number)
        self._held = None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(factory, sock=held, backlog=BACKLOG)

    def close(self) -> None:
        """Refuses connections from now on. Those already accepted are their server's business."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self._held = _bound(self.host, self.number)

    def release(self) -> None:
        """Gives the port up."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._held is not None:
            self._held.close()
            self._held = None


def _bound(host: str, number: int) -> socket.socket:
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        held.setblocking(False)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, number))
    except OSError:
        held.close()
        raise
    return held
