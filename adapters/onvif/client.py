"""One conversation with one ONVIF device: a lean client on aiohttp and lxml.

One connection, no redirects, answers of 2 MB at most; the caller's deadline bounds the whole.
Credentials are sent only when they are asked for, only in the scheme that is asked for, and once.
"""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType
from typing import Self

import aiohttp
from msgspec import Struct
from msgspec.structs import replace
from yarl import URL

from adapters import digest
from adapters.address import Address, reported
from adapters.breaker import Breaker, says_locked
from adapters.hosts import TLS, HungUp, fault_of
from adapters.onvif import operations, soap
from adapters.onvif.auth import Scheme, username_token
from adapters.onvif.operations import MediaService, Operation
from gateway.errors import DeviceFault
from gateway.model import Credentials, Reason
from gateway.ports import Clock

MAX_ANSWER = 2 * 1024 * 1024
"""Bytes; profiles of a 128-channel recorder take about one million."""

_USUAL_PATHS = ("/onvif/device_service", "/onvif/services")
_NO_SERVICE = (400, 404, 405)
"""What answers at a path without an ONVIF service."""


class Answer(Struct, frozen=True, kw_only=True):
    """What came back: `body` is the SOAP Body, None where `problem` says what came instead."""

    status: int
    body: soap.Element | None
    fault: soap.Fault | None
    problem: str
    offered: list[digest.Challenge]
    locked: bool

    @property
    def refused(self) -> bool:
        """Whether it asks for (other) credentials: under HTTP 200, 400, 401 and 500 alike."""
        return self.status == 401 or (self.fault is not None and self.fault.not_authorized)

    @property
    def challenge(self) -> digest.Challenge | None:
        return digest.strongest(self.offered)


class Refused(DeviceFault):
    """The device answered with a fault: it does not want to do this."""


class OnvifClient:
    """`async with OnvifClient(…) as device:`; leaving closes the connection.

    `scheme`, `device_service` and `nonces_serve_once` are what an earlier conversation ended with.
    Every method raises DeviceFault where the device does not do what it is asked.
    """

    def __init__(
        self,
        *,
        address: Address,
        credentials: Credentials | None,
        breaker: Breaker,
        clock: Clock,
        connect_s: float,
        scheme: Scheme = Scheme.NONE,
        device_service: Address | None = None,
        nonces_serve_once: bool = False,
    ) -> None:
        self._address = address
        self._credentials = credentials
        self._breaker = breaker
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        self._session: aiohttp.ClientSession
        self._answers = 0
        self._proven = False
        self._challenge: digest.Challenge | None = None
        self._uses = 0
        self.scheme = scheme
        self.device_service = device_service or replace(
            address, path=_USUAL_PATHS[0] if address.path == "/" else address.path
        )
        self.nonces_serve_once = nonces_serve_once
        """Whether the device wants a fresh challenge for each request, as Dahua does."""
        self.clock_offset_s: float | None = None
        """The device's clock less ours; None while it is not known."""

    async def __aenter__(self) -> Self:
        # A session a conversation: it costs 16 µs, and no idle connection outlives the check.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, ssl=TLS, happy_eyeballs_delay=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,  # unasked compression could unpack to anything
            headers={"User-Agent": "Kuzet", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    # --- the operations --------------------------------------------------------------------------

    async def read_clock(self) -> bool:
        """Asks for the device's time without credentials, as everybody may (ONVIF Core section
        5.9.2), and sets `clock_offset_s`. False where this device demands credentials even here.

        It is the first thing asked: where the usual path answers no ONVIF, the other one is tried.
        """
        operation = operations.GET_SYSTEM_DATE_AND_TIME
        begun = self._clock.now()
        answer = await self._post(self.device_service, operation)
        if (
            answer.body is None
            and answer.status in _NO_SERVICE
            and self.device_service.path == _USUAL_PATHS[0]
        ):
            self.device_service = replace(self.device_service, path=_USUAL_PATHS[1])
            begun = self._clock.now()
            answer = await self._post(self.device_service, operation)
        if answer.refused:
            return False
        try:
            self._take_clock(_body_of(answer, operation), begun.timestamp())
        except Refused:  # it speaks ONVIF all the same
            self.clock_offset_s = None
        return True

    async def read_clock_signed_in(self) -> None:
        """The same with credentials, for a device that demands them."""
        begun = self._clock.now()
        body = await self._call(self.device_service, operations.GET_SYSTEM_DATE_AND_TIME)
        self._take_clock(body, begun.timestamp())

    def _take_clock(self, body: soap.Element, begun: float) -> None:
        told = operations.system_date_and_time(body)
        if told is None:
            self.clock_offset_s = None
            return
        # It tells whole seconds, cut off, at some moment of the exchange.
        ours = (begun + self._clock.now().timestamp()) / 2
        self.clock_offset_s = told.timestamp() + 0.5 - ours

    async def device_information(self) -> operations.DeviceInformation:
        """Who made it; what a check asks to see whether the credentials are right."""
        body = await self._call(self.device_service, operations.GET_DEVICE_INFORMATION)
        return operations.device_information(body)

    async def media_service(self) -> tuple[MediaService, Address]:
        """The media service and its address. Old firmware knows no GetServices, some tells no
        address at all: then the device service is asked, which often is the same program."""
        service: MediaService | None = None
        for operation, reader in (
            (operations.GET_SERVICES, operations.services),
            (operations.GET_CAPABILITIES, operations.capabilities),
        ):
            try:
                service = reader(await self._call(self.device_service, operation))
            except Refused:
                continue
            if service is not None:
                break
        service = service or MediaService(xaddr="")
        return service, reported(service.xaddr, self._address) or self.device_service

    async def profiles(
        self, service: MediaService, address: Address
    ) -> tuple[tuple[operations.Profile, ...], Address]:
        """The media profiles, and the address that told them: where the reported port is shut, the
        inventory's own."""
        operation = service.get_profiles
        try:
            body = await self._call(address, operation)
        except DeviceFault as fault:
            shut = fault.reason in (Reason.REFUSED, Reason.TIMEOUT, Reason.UNREACHABLE)
            if not shut or address.port == self._address.port:
                raise
            address = replace(address, scheme=self._address.scheme, port=self._address.port)
            body = await self._call(address, operation)
        return operations.profiles(body), address

    async def stream_uri(self, service: MediaService, address: Address, token: str) -> str:
        """Where the device says that a profile's stream is, as it writes it."""
        return operations.stream_uri(await self._call(address, service.get_stream_uri(token)))

    # --- signing in ------------------------------------------------------------------------------

    async def _call(self, address: Address, operation: Operation) -> soap.Element:
        """The Body of the answer, signing in where that is asked for."""
        tried: set[Scheme] = set()
        if self.scheme is Scheme.WS_SECURITY and self._credentials is not None:
            tried.add(Scheme.WS_SECURITY)
            answer = await self._sign_in(address, operation, None, self._credentials)
        elif self._proven and self._challenge is not None and not self.nonces_serve_once:
            answer = await self._post(address, operation, self._credentials, self._challenge)
            self.nonces_serve_once = answer.refused and answer.challenge is not None
        else:
            answer = await self._post(address, operation)
        while answer.refused:
            if self._credentials is None:
                raise DeviceFault(Reason.AUTH_FAILED, "ONVIF: asks for credentials; there are none")
            scheme = self._asked_for(answer, tried, operation)
            tried.add(scheme)
            challenge = answer.challenge if scheme is Scheme.HTTP_DIGEST else None
            answer = await self._sign_in(address, operation, challenge, self._credentials)
        return _body_of(answer, operation)

    def _asked_for(self, answer: Answer, tried: set[Scheme], operation: Operation) -> Scheme:
        """The scheme that a refusal asks for. Raises auth_failed where it was tried, or is none of
        ours."""
        if answer.challenge is not None:
            if Scheme.HTTP_DIGEST not in tried:
                return Scheme.HTTP_DIGEST
        elif Scheme.WS_SECURITY not in tried and (answer.fault is not None or not answer.offered):
            return Scheme.WS_SECURITY
        if not tried:
            names = ", ".join(sorted({one.scheme for one in answer.offered}))
            detail = f"offers {names} for signing in, which is unsafe or unknown"
        elif self._proven:
            detail = f"the user has no right to {operation.name}"
        elif answer.fault is not None and answer.fault.time_refused:
            detail = f"the time of the request is refused, not the password: {answer.fault.text}"
        else:
            said = f": {answer.fault.text}" if answer.fault and answer.fault.text else ""
            detail = f"user name or password refused{said}"
        raise DeviceFault(Reason.AUTH_FAILED, f"ONVIF: {detail}")

    async def _sign_in(
        self,
        address: Address,
        operation: Operation,
        challenge: digest.Challenge | None,
        credentials: Credentials,
    ) -> Answer:
        """The answer to a request with credentials: HTTP digest under a challenge, else
        WS-Security. Once they are proven, a refusal concerns the operation, not the account."""
        if self._proven:
            return await self._post(address, operation, credentials, challenge)
        async with self._breaker.trial(self._address.host, credentials) as trial:
            try:
                answer = await self._post(address, operation, credentials, challenge)
                if answer.refused and challenge and answer.challenge and answer.challenge.stale:
                    challenge = answer.challenge
                    answer = await self._post(address, operation, credentials, challenge)
            except HungUp as error:
                trial.refused(False)
                detail = "ONVIF: the device hangs up when it gets the credentials"
                raise DeviceFault(Reason.AUTH_FAILED, detail) from error
            if not answer.refused:
                trial.passed()
                self._proven = True
                self.scheme = Scheme.HTTP_DIGEST if challenge else Scheme.WS_SECURITY
            elif answer.locked or answer.fault is None or not answer.fault.time_refused:
                trial.refused(answer.locked)
        if answer.refused and answer.locked:
            said = answer.fault.text if answer.fault else ""
            raise DeviceFault(Reason.LOCKED_OUT, f"ONVIF: {said or 'the account is locked'}")
        return answer

    # --- the wire --------------------------------------------------------------------------------

    async def _post(
        self,
        address: Address,
        operation: Operation,
        credentials: Credentials | None = None,
        challenge: digest.Challenge | None = None,
    ) -> Answer:
        """One exchange; once more on a fresh connection where the device had closed the used one,
        as many do after each answer."""
        before = self._answers
        try:
            return await self._exchange(address, operation, credentials, challenge)
        except HungUp:
            if not before:
                raise
        return await self._exchange(address, operation, credentials, challenge)

    async def _exchange(
        self,
        address: Address,
        operation: Operation,
        credentials: Credentials | None,
        challenge: digest.Challenge | None,
    ) -> Answer:
        headers = {
            "Content-Type": f'application/soap+xml; charset=utf-8; action="{operation.action}"'
        }
        token = ""
        if credentials is not None and challenge is not None:
            if challenge is not self._challenge:
                self._challenge, self._uses = challenge, 0
            self._uses += 1
            headers["Authorization"] = digest.answer(
                challenge,
                credentials,
                method="POST",
                uri=address.path,
                count=self._uses,
            )
        elif credentials is not None:
            theirs = self._clock.now() + timedelta(seconds=self.clock_offset_s or 0.0)
            token = username_token(credentials, theirs)
        try:
            async with self._session.post(
                URL(address.url, encoded=True),
                data=soap.envelope(operation.body, token),
                headers=headers,
                allow_redirects=False,
            ) as response:
                content = await _read(response)
        except aiohttp.ClientConnectorDNSError as error:
            detail = f"the name {address.host} is not known"
            raise DeviceFault(Reason.DNS_FAILURE, detail) from error
        except aiohttp.ClientConnectorError as error:
            raise fault_of(error.os_error, address) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError) as error:
            raise HungUp("ONVIF") from error
        except OSError as error:  # the time-out of connecting
            raise fault_of(error, address) from error
        except aiohttp.ClientError as error:
            detail = f"ONVIF: what answers on port {address.port} is not HTTP"
            raise DeviceFault(Reason.PROTOCOL_ERROR, detail) from error
        self._answers += 1
        return _answer(response, content)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, or what came of it before the device hung up."""
    content = bytearray()
    try:
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > MAX_ANSWER:
                detail = f"ONVIF: an answer of more than {MAX_ANSWER} bytes"
                raise DeviceFault(Reason.PROTOCOL_ERROR, detail)
    except aiohttp.ClientPayloadError:
        return bytes(content)
    return bytes(content)


def _answer(response: aiohttp.ClientResponse, content: bytes) -> Answer:
    status = response.status
    offered = digest.challenges(response.headers.getall("WWW-Authenticate", []))
    body: soap.Element | None = None
    fault: soap.Fault | None = None
    problem = ""
    if 300 <= status < 400:
        problem = "ONVIF: a redirect, which is not followed"
    elif not (status == 401 and digest.strongest(offered)):  # then nothing else counts
        try:
            body = soap.parse(content)
            fault = soap.fault(body)
        except DeviceFault as error:
            problem = error.detail
    said = fault.text.encode() if fault else content
    return Answer(
        status=status,
        body=body,
        fault=fault,
        problem=problem,
        offered=offered,
        locked=status in (400, 401, 403, 423, 500) and says_locked(said),
    )


def _body_of(answer: Answer, operation: Operation) -> soap.Element:
    """The Body of an answer that is one. Raises DeviceFault."""
    if answer.fault is not None:
        raise Refused(Reason.PROTOCOL_ERROR, f"ONVIF: {operation.name}: {answer.fault}")
    if answer.status in (403, 423):
        reason = Reason.LOCKED_OUT if answer.locked else Reason.AUTH_FAILED
        raise DeviceFault(reason, f"ONVIF: HTTP {answer.status} to {operation.name}")
    if answer.body is None:
        raise DeviceFault(Reason.PROTOCOL_ERROR, f"{answer.problem} (HTTP {answer.status})")
    return answer.body
