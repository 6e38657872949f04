"""What one camera offers over RTSP, and whether it lets us in.

Requests go one by one on one connection; the caller's deadline bounds the whole.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from adapters import digest
from adapters.address import Address
from adapters.breaker import Breaker, says_locked
from adapters.hosts import HungUp
from adapters.rtsp import sdp
from adapters.rtsp.wire import Response, RtspConnection
from gateway.errors import DeviceFault
from gateway.model import Credentials, Reason

_ACCEPT = {"Accept": "application/sdp"}


class RtspClient:
    """`async with RtspClient(…) as camera:`; the first request connects, leaving hangs up.

    Every method raises DeviceFault where the camera does not do what it is asked.
    """

    def __init__(
        self,
        *,
        address: Address,
        credentials: Credentials | None,
        breaker: Breaker,
        connect_s: float,
    ) -> None:
        self._address = address
        self._credentials = credentials
        self._breaker = breaker
        self._connect_s = connect_s
        self._connection: RtspConnection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._hang_up()

    async def options(self) -> frozenset[str]:
        """The methods that the camera says it knows; that it speaks RTSP at all."""
        response = await self._request("OPTIONS", {})
        return frozenset(word.strip().upper() for word in response.header("public").split(","))

    async def describe(self) -> Response:
        """The camera's answer to DESCRIBE, whatever it is, once it has let us in.

        Credentials are sent only when they are asked for, and once. Raises auth_failed or
        locked_out where they are not accepted.
        """
        try:
            response = await self._request("DESCRIBE", _ACCEPT)
        except HungUp:  # some serve one request a connection, and OPTIONS was it
            response = await self._ask_anew()
        if response.status != 401:
            return response
        if self._credentials is None:
            raise DeviceFault(Reason.AUTH_FAILED, "RTSP: asks for credentials; there are none")
        async with self._breaker.trial(self._address.host, self._credentials) as trial:
            try:
                response = await self._sign_in(response, self._credentials)
            except HungUp as error:
                trial.refused(False)
                detail = "RTSP: the camera hangs up when it gets the credentials"
                raise DeviceFault(Reason.AUTH_FAILED, detail) from error
            locked = response.status == 401 and says_locked(response.phrase.encode(), response.body)
            if response.status == 401:
                trial.refused(locked)
            else:
                trial.passed()
                return response
        if locked:
            raise DeviceFault(Reason.LOCKED_OUT, f"RTSP: {response.phrase or 'account locked'}")
        raise DeviceFault(Reason.AUTH_FAILED, "RTSP: user name or password refused")

    async def _sign_in(self, challenged: Response, credentials: Credentials) -> Response:
        """The answer to DESCRIBE with credentials. A nonce that had become stale, and a camera that
        hung up after its challenge, get a second request: neither has judged the credentials."""
        try:
            response = await self._describe_as(challenged, credentials)
        except HungUp:
            challenged = await self._ask_anew()
            if challenged.status != 401:
                return challenged
            return await self._describe_as(challenged, credentials)
        challenge = digest.strongest(_challenges(response)) if response.status == 401 else None
        if challenge is not None and challenge.stale:
            return await self._describe_as(response, credentials)
        return response

    async def _ask_anew(self) -> Response:
        """The answer to a plain DESCRIBE on a fresh connection."""
        await self._hang_up()
        return await self._request("DESCRIBE", _ACCEPT)

    async def _describe_as(self, challenged: Response, credentials: Credentials) -> Response:
        """The answer to DESCRIBE in the scheme that the camera asks for; Basic under TLS only."""
        offered = _challenges(challenged)
        challenge = digest.strongest(offered)
        if challenge is not None:
            authorization = digest.answer(
                challenge, credentials, method="DESCRIBE", uri=self._address.url
            )
        elif self._address.secure and any(one.scheme == "basic" for one in offered):
            pair = f"{credentials.username}:{credentials.password}"
            authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            names = ", ".join(sorted({one.scheme for one in offered})) or "nothing"
            detail = f"RTSP: offers {names} for signing in, which is unsafe or unknown"
            raise DeviceFault(Reason.AUTH_FAILED, detail)
        return await self._request("DESCRIBE", {**_ACCEPT, "Authorization": authorization})

    async def _request(self, method: str, headers: Mapping[str, str]) -> Response:
        if self._connection is None:
            self._connection = await RtspConnection.open(self._address, self._connect_s)
        return await self._connection.request(method, headers)

    async def _hang_up(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()


def _challenges(response: Response) -> list[digest.Challenge]:
    return digest.challenges(response.headers.get("www-authenticate", ()))


# --- what an answer means ------------------------------------------------------------------------

_REFUSALS = {
    403: (Reason.STREAM_REFUSED, "the user has no right to this stream"),
    404: (Reason.STREAM_NOT_FOUND, "the camera knows no such stream"),
    453: (Reason.STREAM_REFUSED, "the camera serves all the viewers that it can"),
    500: (Reason.STREAM_REFUSED, "the camera's stream server failed"),
    503: (Reason.STREAM_REFUSED, "the camera's stream server is not available now"),
    551: (Reason.PROTOCOL_ERROR, "the camera demands an option that was not asked for"),
}


def session_of(response: Response, address: Address) -> sdp.SessionDescription:
    """The description of a stream in an answer to DESCRIBE, with at least one video in it.

    Raises DeviceFault: what the status stands for, protocol_error where there is no description,
    no_profile where there is no video.
    """
    if response.status != 200:
        reason, meaning = _REFUSALS.get(
            response.status, (Reason.PROTOCOL_ERROR, "an answer that makes no sense here")
        )
        raise DeviceFault(reason, f"RTSP {response.status} {response.phrase}: {meaning}")
    base = response.header("content-base") or response.header("content-location") or address.url
    session = sdp.parse(response.body.decode("utf-8", "replace"), base)
    if session is None:
        raise DeviceFault(Reason.PROTOCOL_ERROR, "RTSP: no session description in the answer")
    if session.video is None:
        raise DeviceFault(Reason.NO_PROFILE, "RTSP: the stream holds no video")
    return session
