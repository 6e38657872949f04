"""The check of a stream: does RTSP answer, does it let us in, does it offer video."""

from __future__ import annotations

from adapters.address import Address, Target
from adapters.breaker import Breaker
from adapters.ladder import Ladder, RungName, approach
from adapters.rtsp.client import RtspClient, session_of
from gateway.model import Credentials


class RtspCheck:
    """Climbs the ladder of a device whose inventory address is a stream."""

    def __init__(self, *, breaker: Breaker, connect_s: float) -> None:
        self._breaker = breaker
        self._connect_s = connect_s

    async def climb(self, target: Target, ladder: Ladder, *, whole: bool) -> None:
        """A DESCRIBE; the whole ladder begins with name, TCP and OPTIONS. Raises DeviceFault."""
        if whole:
            await approach(target.address, ladder, self._connect_s)
        await describe(
            target.address,
            target.credentials,
            ladder,
            breaker=self._breaker,
            connect_s=self._connect_s,
            options=whole,
        )

    def forget(self, device_id: str) -> None:
        """Nothing is remembered of a stream."""


async def describe(
    stream: Address,
    credentials: Credentials | None,
    ladder: Ladder,
    *,
    breaker: Breaker,
    connect_s: float,
    options: bool = False,
) -> None:
    """The topmost rungs: what the stream offers. Raises DeviceFault."""
    ladder.details["stream"] = stream.shown
    async with RtspClient(
        address=stream, credentials=credentials, breaker=breaker, connect_s=connect_s
    ) as camera:
        if options:
            async with ladder.rung(RungName.RTSP) as step:
                step.note(f"answers, with {len(await camera.options())} methods")
        async with ladder.rung(RungName.DESCRIBE) as step:
            session = session_of(await camera.describe(), stream)
            codecs = ", ".join(media.encoding or media.kind for media in session.media)
            step.note(f"{len(session.media)} media: {codecs}")
    video = session.video
    if video is not None and video.encoding:
        ladder.details["codec"] = video.encoding
