"""The check of an ONVIF device: from its name to a description of its stream.

The routine check is one exchange without credentials (the clock), one with them, and a DESCRIBE of
the stream that the last whole check found. A camera behind a recorder needs the DESCRIBE alone: the
recorder's own check asks the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from adapters.address import Address, Target, reported
from adapters.breaker import Breaker
from adapters.ladder import Ladder, RungName, approach
from adapters.onvif.auth import Scheme
from adapters.onvif.client import OnvifClient
from adapters.onvif.operations import DeviceInformation, Profile
from adapters.rtsp.check import describe
from gateway.errors import DeviceFault
from gateway.model import Reason
from gateway.ports import Clock

MAX_SKEW_S = 5.0
"""Above it recordings cannot be matched with events, and sign-ins begin to fail."""


class _Known(Struct, frozen=True, kw_only=True):
    """What the last check that reached the top learned of a device."""

    scheme: Scheme
    device_service: Address
    nonces_serve_once: bool
    information: DeviceInformation | None
    profile: Profile
    stream: Address | None


class OnvifCheck:
    """Climbs the ladder of cameras and recorders, and remembers what it learned of each."""

    def __init__(self, *, clock: Clock, breaker: Breaker, connect_s: float) -> None:
        self._clock = clock
        self._breaker = breaker
        self._connect_s = connect_s
        self._known: dict[str, _Known] = {}

    def forget(self, device_id: str) -> None:
        """The device is gone, or another one now."""
        self._known.pop(device_id, None)

    async def climb(self, target: Target, ladder: Ladder, *, whole: bool) -> None:
        """The routine check, or the whole ladder where `whole` asks for it or nothing is known of
        the device. Raises DeviceFault."""
        known = self._known.get(target.device.device_id)
        _tell(ladder, known)
        if known is None or whole:
            await approach(target.address, ladder, self._connect_s)
        if known is None or whole or not target.is_channel:
            async with OnvifClient(
                address=target.address,
                credentials=target.credentials,
                breaker=self._breaker,
                clock=self._clock,
                connect_s=self._connect_s,
                scheme=known.scheme if known else Scheme.NONE,
                device_service=known.device_service if known else None,
                nonces_serve_once=known.nonces_serve_once if known else False,
            ) as device:
                learned = await self._converse(device, target, ladder, None if whole else known)
        else:
            learned = known
        _tell(ladder, learned)
        if learned.stream is not None:
            await describe(
                learned.stream,
                target.credentials,
                ladder,
                breaker=self._breaker,
                connect_s=self._connect_s,
            )
        self._known[target.device.device_id] = learned

    async def _converse(
        self, device: OnvifClient, target: Target, ladder: Ladder, known: _Known | None
    ) -> _Known:
        """The ONVIF rungs; without the media profile where it is `known`."""
        async with ladder.rung(RungName.ONVIF) as step:
            told = await device.read_clock()
            step.note(f"answers at {device.device_service.path}")
        information: DeviceInformation | None = None
        if not target.is_channel:
            if told:
                await self._clock_rung(device, ladder)
            async with ladder.rung(RungName.AUTHENTICATION) as step:
                information = await device.device_information()
                how = "without a password" if device.scheme is Scheme.NONE else device.scheme
                step.note(f"{information.maker} {information.model} ({how})")
            if not told:
                await self._clock_rung(device, ladder, signed_in=True)
        if known is not None:
            return replace(known, scheme=device.scheme, information=information)
        async with ladder.rung(RungName.PROFILE) as step:
            profile, stream = await self._stream(device, target)
            step.note(f"{profile.name or profile.token}, {profile.encoding}")
        return _Known(
            scheme=device.scheme,
            device_service=device.device_service,
            nonces_serve_once=device.nonces_serve_once,
            information=information,
            profile=profile,
            stream=stream,
        )

    async def _clock_rung(
        self, device: OnvifClient, ladder: Ladder, *, signed_in: bool = False
    ) -> None:
        async with ladder.rung(RungName.CLOCK) as step:
            if signed_in:
                await device.read_clock_signed_in()
            offset = device.clock_offset_s
            if offset is None:
                step.note("tells no time that can be read")
                return
            ladder.details["clock_skew_s"] = round(offset, 1)
            # On a slow line nobody knows when in the exchange the device looked at its clock.
            wrong = abs(offset) - (ladder.latency_s or 0.0) / 2 > MAX_SKEW_S
            step.note(f"{offset:+.1f} s", Reason.CLOCK_SKEW if wrong else None)

    async def _stream(self, device: OnvifClient, target: Target) -> tuple[Profile, Address | None]:
        """The profile that is looked at and its stream; of a recorder its channels' streams are
        looked at instead."""
        service, media = await device.media_service()
        profiles, media = await device.profiles(service, media)
        profile = choose(profiles, target.device.channel)
        if target.is_recorder:
            return profile, None
        text = await device.stream_uri(service, media, profile.token)
        stream = reported(text, target.address, port=target.device.rtsp_port)
        if stream is None or stream.scheme not in ("rtsp", "rtsps"):
            detail = f"ONVIF: the stream's address cannot be used: {text[:60]!r}"
            raise DeviceFault(Reason.STREAM_NOT_FOUND, detail)
        return profile, stream


def choose(profiles: Sequence[Profile], channel: int | None) -> Profile:
    """The first profile with a video encoder; of a recorder, of the channel (counted from 1) in the
    order of its video sources. Raises DeviceFault: no_profile, channel_missing."""
    if not profiles:
        raise DeviceFault(Reason.NO_PROFILE, "ONVIF: the device has no media profile")
    if channel is not None:
        # Without source tokens each profile counts as a channel of its own.
        sources = list(dict.fromkeys(one.source or one.token for one in profiles))
        if not 0 < channel <= len(sources):
            detail = f"ONVIF: the device reports {len(sources)} channels, none is number {channel}"
            raise DeviceFault(Reason.CHANNEL_MISSING, detail)
        wanted = sources[channel - 1]
        profiles = [one for one in profiles if (one.source or one.token) == wanted]
    return next((one for one in profiles if one.encoding), profiles[0])


def _tell(ladder: Ladder, known: _Known | None) -> None:
    """Notes for the report what is known of the device."""
    if known is None:
        return
    if known.information is not None:
        ladder.details["maker"] = known.information.maker
        ladder.details["model"] = known.information.model
        ladder.details["firmware"] = known.information.firmware
    ladder.details["profile"] = known.profile.name or known.profile.token
    if known.profile.width and known.profile.height:
        ladder.details["width"] = known.profile.width
        ladder.details["height"] = known.profile.height
