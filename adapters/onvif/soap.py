"""SOAP 1.2 as ONVIF devices speak it: plain to write, lenient to read.

Read are answers with wrong, missing or undeclared prefixes, unquoted attributes (TL-IPC), bad
UTF-8, a byte-order mark, MIME around them (Hikvision's MTOM) or an end cut off. Elements are found
by their local names. Document types and entities are refused.
"""

from __future__ import annotations

import re
from contextlib import suppress

from lxml import etree
from msgspec import Struct

from gateway.errors import DeviceFault
from gateway.model import Reason

Element = etree._Element  # noqa: SLF001 -- lxml has no other name for it

_ENVELOPE = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope">{header}'
    "<s:Body>{body}</s:Body></s:Envelope>"
)

_PARSER = etree.XMLParser(
    recover=True,
    resolve_entities=False,
    load_dtd=False,
    no_network=True,
    huge_tree=False,
    remove_comments=True,
    remove_pis=True,
)

_BROKEN_TAG = frozenset(("ERR_ATTRIBUTE_NOT_STARTED", "ERR_GT_REQUIRED"))
# Possessive, and anchored at a name's start: whatever a device sends, the search stays linear.
_TAG = re.compile(rb"<([\w:.-]++)(\s[^<>]*?)(/?)>")
_ATTRIBUTE = re.compile(
    rb"""(?<![\w:.-])([\w:.-]++)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'<>=]++))"""
)
_DECLARATION = re.compile(rb"\s*<\?xml([^>]{0,100})>")
_ENCODING = re.compile(rb"""encoding\s*=\s*["']([\w-]{1,20})["']""")
_BELIEVED = re.compile(rb"(?i)gb(?:2312|k|18030)|big5|(?:windows-|cp)125\d|iso-8859-\d\d?|koi8-r")
"""What is believed of an XML declaration; the rest is read as UTF-8, which it mostly is."""
_SURROGATE = re.compile(rb"&#(?:x0*d[89a-f][0-9a-f]{2}|0*5[5-7]\d{3});", re.IGNORECASE)
"""References to halves of characters: in an attribute lxml takes one in and fails to read it."""


class Fault(Struct, frozen=True, kw_only=True):
    """A SOAP fault: `codes` are the local names of its code and subcodes, outermost first."""

    codes: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return " / ".join([*self.codes, self.text])[:200]

    @property
    def not_authorized(self) -> bool:
        """Whether it stands for missing or wrong credentials; makers disagree on the code."""
        return not _NOT_AUTHORIZED_CODES.isdisjoint(self.codes) or bool(
            _NOT_AUTHORIZED_TEXT.search(self.text)
        )

    @property
    def time_refused(self) -> bool:
        """Whether the time of our token was refused and not its password (Dahua)."""
        return "MessageExpired" in self.codes or bool(_TIME_TEXT.search(self.text))


_NOT_AUTHORIZED_CODES = frozenset(
    (
        "NotAuthorized",  # ONVIF Core section 5.11.2.1
        "FailedAuthentication",  # WS-Security 1.1 section 12
        "FailedCheck",
        "InvalidSecurity",
        "InvalidSecurityToken",
        "MessageExpired",
    )
)
_NOT_AUTHORIZED_TEXT = re.compile(
    r"(?i)not\s+authori[sz]ed|unauthori[sz]ed|authority\s+failure|(?:user\s?name|user) or password"
    r"|authentication\s+(?:fail|error)|failed\s+authentication|authorized time check"
)
_TIME_TEXT = re.compile(r"(?i)time\s?check|time ?stamp|message (?:has )?expired")


def envelope(body: str, header: str = "") -> bytes:
    """A request. `body` and `header` are XML that declares its own namespaces."""
    if header:
        header = f"<s:Header>{header}</s:Header>"
    return _ENVELOPE.format(header=header, body=body).encode()


def escape(text: str) -> str:
    """`text` as the content of an element."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def parse(answer: bytes) -> Element:
    """The Body of an answer. Raises DeviceFault (protocol_error) where there is none."""
    document = _utf8(answer)
    if b"<!DOCTYPE" in document:
        raise DeviceFault(Reason.PROTOCOL_ERROR, _what_instead(answer))
    root, errors = _tree(document)
    if not errors.isdisjoint(_BROKEN_TAG):
        root, errors = _tree(_TAG.sub(_mended, document))
    if root is None or root.getroottree().docinfo.internalDTD is not None:
        raise DeviceFault(Reason.PROTOCOL_ERROR, _what_instead(answer))
    if "NS_ERR_UNDEFINED_NAMESPACE" in errors:
        for element in root.iter(etree.Element):
            prefix, _, name = element.tag.rpartition(":")
            if prefix and "{" not in prefix:
                with suppress(ValueError):  # what stands behind the colon is no name: `a:`, `a:1`
                    element.tag = name
    body = root.find("{*}Body")
    if body is None:
        raise DeviceFault(Reason.PROTOCOL_ERROR, _what_instead(answer))
    return body


def _utf8(answer: bytes) -> bytes:
    """The document in an answer as sound UTF-8: whatever else it claims to be, lxml never sees."""
    # Some pad with NULs, and none belongs into XML: without them UTF-16 hides nothing either.
    document = answer[max(answer.find(b"<"), 0) :].replace(b"\0", b"")
    encoding = "utf-8"
    declaration = _DECLARATION.match(document)
    if declaration is not None:
        document = document[declaration.end() :]
        declared = _ENCODING.search(declaration[1])
        if declared is not None and _BELIEVED.fullmatch(declared[1]):
            encoding = declared[1].decode()
    if b"&#" in document:
        document = _SURROGATE.sub(b"", document)
    return document.decode(encoding, "replace").encode()


def _tree(document: bytes) -> tuple[Element | None, set[str]]:
    """What can be read of `document`, and the kinds of errors in it."""
    try:
        root = etree.fromstring(document, _PARSER)
    except etree.XMLSyntaxError:  # nothing of it can be read
        return None, set()
    return root, {error.type_name for error in _PARSER.error_log}


def _mended(tag: re.Match[bytes]) -> bytes:
    """A start tag with its attributes quoted, and without what is no attribute."""
    attributes = b"".join(
        b' %b="%b"' % (name, double or single.replace(b'"', b"&quot;") or bare)
        for name, double, single, bare in _ATTRIBUTE.findall(tag[2])
    )
    return b"<%b%b%b>" % (tag[1], attributes, tag[3])


def _what_instead(answer: bytes) -> str:
    start = answer[:1000].lstrip().lower()
    if not start:
        return "ONVIF: an empty answer"
    return "ONVIF: a web page in place of an answer" if b"<html" in start else "ONVIF: not SOAP"


def fault(body: Element) -> Fault | None:
    """The fault that a Body holds, of SOAP 1.2 or 1.1."""
    found = body.find("{*}Fault")
    if found is None:
        return None
    codes = [value.text or "" for value in found.iter("{*}Value", "{*}faultcode")]
    reasons = [*found.iterfind("{*}Reason/{*}Text"), *found.iterfind("{*}faultstring")]
    texts = [reason.text or "" for reason in reasons]
    return Fault(
        codes=tuple(code.strip().rpartition(":")[2][:60] for code in codes[:5]),
        text=" ".join(" ".join(texts[:3]).split())[:160],
    )


def text(element: Element | None, path: str) -> str:
    """The text at `path` below `element`, stripped, empty where there is none. Hikvision's ends in
    newlines."""
    found = None if element is None else element.find(path)
    return "" if found is None or not found.text else found.text.strip()
