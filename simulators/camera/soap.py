"""SOAP 1.2 as a camera reads and writes it: envelopes, faults, WS-Security tokens."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from lxml import etree
from msgspec import Struct

from simulators.camera.account import UsernameToken

ENVELOPE = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://www.w3.org/2005/08/addressing"
SECURITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
UTILITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
DEVICE = "http://www.onvif.org/ver10/device/wsdl"
MEDIA = "http://www.onvif.org/ver10/media/wsdl"
EVENTS = "http://www.onvif.org/ver10/events/wsdl"
NOTIFICATION = "http://docs.oasis-open.org/wsn/b-2"

NAMESPACES = {
    "env": ENVELOPE,
    "wsa5": ADDRESSING,
    "tds": DEVICE,
    "trt": MEDIA,
    "tev": EVENTS,
    "wsnt": NOTIFICATION,
    "tt": "http://www.onvif.org/ver10/schema",
    "ter": "http://www.onvif.org/ver10/error",
    "tns1": "http://www.onvif.org/ver10/topics",
    "wstop": "http://docs.oasis-open.org/wsn/t-1",
    "xs": "http://www.w3.org/2001/XMLSchema",
}
_DECLARED = " ".join(f"xmlns:{prefix}={quoteattr(uri)}" for prefix, uri in NAMESPACES.items())

GARBAGE = (
    b"<?xml version=1.0?><env:Envelope xmlns:env=broken><env:Body><tds:Answer ok=yes></env:Body"
)
"""What the firmware of some cameras calls XML."""


class Unreadable(ValueError):
    """The request is no SOAP."""


class SoapFault(Exception):
    """An answer that says no (ONVIF Core, 5.8.2): `subcode` and perhaps a second one, dotted."""

    def __init__(self, subcodes: str, reason: str, *, code: str = "Sender", http: int = 400):
        self.subcodes = tuple(subcodes.split("/"))
        self.reason = reason
        self.code = code
        self.http = http
        super().__init__(reason)


class Request(Struct, frozen=True, kw_only=True):
    """One call: the operation's element, and what its header says."""

    operation: etree._Element
    namespace: str
    name: str
    message_id: str
    token: UsernameToken | None

    def text(self, path: str, default: str = "") -> str:
        """The text at an ElementTree path below the operation, `default` where there is none."""
        found = self.operation.findtext(path, default, NAMESPACES)
        return found.strip()


_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)


def read(body: bytes) -> Request:
    """Raises Unreadable."""
    try:
        envelope = etree.fromstring(body, _PARSER)
    except etree.XMLSyntaxError as error:
        raise Unreadable(str(error)) from error
    operation = envelope.find("env:Body/*", NAMESPACES)
    if operation is None:
        raise Unreadable("no operation in the body")
    name = etree.QName(operation)
    return Request(
        operation=operation,
        namespace=name.namespace or "",
        name=name.localname,
        message_id=envelope.findtext("env:Header/wsa5:MessageID", "", NAMESPACES),
        token=_token(envelope),
    )


def _token(envelope: etree._Element) -> UsernameToken | None:
    names = {"wsse": SECURITY, "wsu": UTILITY, "env": ENVELOPE}
    token = envelope.find("env:Header/wsse:Security/wsse:UsernameToken", names)
    if token is None:
        return None
    password = token.find("wsse:Password", names)
    kind = "" if password is None else password.get("Type", "")
    return UsernameToken(
        username=token.findtext("wsse:Username", "", names).strip(),
        password=token.findtext("wsse:Password", "", names).strip(),
        digested=kind.endswith("#PasswordDigest"),
        nonce=token.findtext("wsse:Nonce", "", names).strip(),
        created=token.findtext("wsu:Created", "", names).strip(),
    )


def answer(body: str, *, request: Request, action: str = "") -> bytes:
    """An envelope around `body`; with `action` it carries WS-Addressing, as events must."""
    header = ""
    if action:
        header = f"<env:Header><wsa5:Action>{action}</wsa5:Action>"
        if request.message_id:
            header += f"<wsa5:RelatesTo>{escape(request.message_id)}</wsa5:RelatesTo>"
        header += "</env:Header>"
    return _envelope(f"{header}<env:Body>{body}</env:Body>")


def fault(what: SoapFault) -> bytes:
    subcodes = ""
    for subcode in reversed(what.subcodes):
        value = f"<env:Value>{subcode}</env:Value>"
        subcodes = f"<env:Subcode>{value}{subcodes}</env:Subcode>"
    return _envelope(
        f"<env:Body><env:Fault><env:Code><env:Value>env:{what.code}</env:Value>{subcodes}"
        f'</env:Code><env:Reason><env:Text xml:lang="en">{escape(what.reason)}</env:Text>'
        "</env:Reason></env:Fault></env:Body>"
    )


def _envelope(inside: str) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<env:Envelope {_DECLARED}>{inside}</env:Envelope>'
    ).encode()
