"""Where a device is asked: the inventory's host, always; port and path as the device reports them.

Cameras report private, default, `0.0.0.0` or doubled (`host:8106:8106`) hosts. None of them is ever
connected to.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from gateway.model import Credentials, Device, DeviceKind, Inventory

DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_SECURE = {"http": "https", "rtsp": "rtsps"}

_MAX_ADDRESS = 2048  # characters; longer ones are a device's confusion, not an address

_ADDRESS = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?:[^/?\#]*@)?(?P<host>\[[^\]/]*\]|[^:/?\#]*)"
    r"(?::(?P<port>\d{1,5}))?(?::\d*)*(?P<path>[/?\#].*)?",
    re.DOTALL,
)

# What some recorders (Xiongmai) put into the path of a stream.
_SECRET_IN_PATH = re.compile(r"(?i)(\b(?:user|username|password|passwd|pwd|pass)[=:_])[^&/?;]*")


class Address(Struct, frozen=True, kw_only=True):
    """Scheme, host (without brackets), port and path with query. Holds no credentials."""

    scheme: str
    host: str
    port: int
    path: str = "/"

    @property
    def url(self) -> str:
        """As a request names it; the port stands only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    @property
    def secure(self) -> bool:
        return self.scheme in ("https", "rtsps")

    @property
    def is_name(self) -> bool:
        """Whether the host has to be looked up first."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return True
        return False

    @property
    def shown(self) -> str:
        """Port and path for people, without the credentials that some paths carry."""
        path = _SECRET_IN_PATH.sub(r"\g<1>***", self.path)
        return f":{self.port}{path}"


def parse(text: str) -> Address | None:
    """Reads an address as devices write it; None where it names no scheme that we speak or is
    absurd. User and password in it are dropped."""
    found = _ADDRESS.fullmatch(text.strip()) if len(text) <= _MAX_ADDRESS else None
    if found is None:
        return None
    scheme = found["scheme"].lower()
    port = int(found["port"] or DEFAULT_PORTS.get(scheme, 0))
    if scheme not in DEFAULT_PORTS or not 0 < port < 65536:
        return None
    path = found["path"] or "/"
    try:
        host = found["host"].strip("[]").lower().encode("idna").decode()
    except UnicodeError:
        return None
    # A path goes into request lines and quoted strings: nothing in it may end either.
    path = quote(path, safe="/?#%:@!$&'()*+,;=[]{}|~^`-._\\")
    return Address(
        scheme=scheme,
        host=host,
        port=port,
        path=path if path.startswith("/") else f"/{path}",
    )


def reported(text: str, inventory: Address, *, port: int | None = None) -> Address | None:
    """The address that a device reports, with the inventory's host; None where it is unusable.

    `port` is the inventory's own, where the network translates ports. A device that is asked under
    TLS is not followed to plain HTTP: then only its path counts.
    """
    address = parse(text)
    if address is None:
        return None
    if inventory.scheme == "https" and address.scheme == "http":
        address = replace(address, scheme="https", port=inventory.port)
    return replace(address, host=inventory.host, port=port or address.port)


class Target(Struct, frozen=True, kw_only=True):
    """What a check needs of the inventory: one device, where it is and as whom it is asked."""

    device: Device
    address: Address
    credentials: Credentials | None

    @property
    def is_recorder(self) -> bool:
        return self.device.kind is DeviceKind.RECORDER

    @property
    def is_channel(self) -> bool:
        """Whether it is a camera that a recorder answers for."""
        return bool(self.device.parent) and not self.is_recorder


def target(device: Device, inventory: Inventory) -> Target | None:
    """A camera behind a recorder has the recorder's address and credentials where its own are
    empty. None where there is no address that can be asked."""
    parent = inventory.devices.get(device.parent)
    address = parse(device.address or (parent.address if parent else ""))
    group = device.credentials or (parent.credentials if parent else "")
    if address is None or not address.host:
        return None
    return Target(device=device, address=address, credentials=inventory.credentials.get(group))
