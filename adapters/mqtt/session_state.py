"""What is known of a session on the broker, kept over restarts.

`Wire.session` names one life of the session: a redelivery is proven only within it, as packet ids
begin anew with the next. Whether the broker still has the session is told by CONNACK alone. So the
file is renamed to `….unsettled` before each CONNECT, and gets its name back once CONNACK is
understood:

- `….json`: the session named in it is the one that the broker had.
- `….unsettled`: we were killed, or the connection broke, between CONNECT and CONNACK. The broker
  may have begun a new session, without subscriptions. So it counts as a new one: named anew and
  subscribed anew. The price: messages that were under way and have no id of their own lose their
  proof, and a press among them counts twice. Taking it for the old one could silence a press, or
  leave us without subscriptions, deaf and content.

A rename needs no room on a full disk.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct

from adapters.mqtt import durable

log = logging.getLogger(__name__)


class SessionState(Struct, frozen=True, kw_only=True):
    """One life of the session: its name, its broker, when we were last known to be connected (at a
    login or a tidy end), and the filters that the broker holds for it."""

    session: str
    broker: str
    connected_at: datetime
    filters: tuple[str, ...] = ()


FORGOTTEN = SessionState(session="", broker="", connected_at=datetime.fromtimestamp(0, UTC))
"""There was a session, and nothing is known of it."""


class StateFile:
    """The file of one client id. Its methods block (they sync) and may be called from any thread;
    one waits for the other."""

    def __init__(self, folder: Path, client_id: str) -> None:
        name = f"mqtt-{quote(client_id, safe='')}"
        self._settled = folder / f"{name}.json"
        self._unsettled = folder / f"{name}.unsettled"
        self._one_at_a_time = threading.Lock()

    def load(self) -> tuple[SessionState | None, bool]:
        """The last state, and whether it is settled; None where there has never been a session."""
        with self._one_at_a_time:
            for path, settled in ((self._settled, True), (self._unsettled, False)):
                try:
                    return msgspec.json.decode(path.read_bytes(), type=SessionState), settled
                except FileNotFoundError:
                    continue
                except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
                    log.warning("mqtt state file=%s cannot be used: %s", path.name, error)
                    return FORGOTTEN, False
        return None, True

    def unsettle(self) -> None:
        """From here on nobody knows which session the broker has. Raises OSError."""
        with self._one_at_a_time:
            if self._settled.exists():
                durable.rename(self._settled, self._unsettled)

    def settle(self, state: SessionState) -> None:
        """The broker has this session. Raises OSError."""
        with self._one_at_a_time:
            durable.write(self._settled, msgspec.json.encode(state))
            self._unsettled.unlink(missing_ok=True)
