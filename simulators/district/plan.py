"""What stands at which site: a district drawn from a seed, without a socket opened."""

from __future__ import annotations

import random
from enum import StrEnum
from itertools import cycle, islice

from msgspec import Struct

from simulators.camera import Plate, Scheme
from simulators.district import names
from simulators.mqtt import Dialect


class Kind(StrEnum):
    """Device kinds as the inventory spells them."""

    CAMERA = "camera"
    PANIC_BUTTON = "panic_button"
    TURNSTILE = "turnstile"
    INTERCOM = "intercom"


class CameraPlan(Struct, frozen=True, kw_only=True):
    device_id: str
    place: str
    host: str
    credentials: str
    schemes: frozenset[Scheme]
    plate: Plate


class MqttPlan(Struct, frozen=True, kw_only=True):
    device_id: str
    kind: Kind
    place: str
    dialect: Dialect


class SitePlan(Struct, frozen=True, kw_only=True):
    site_id: str
    name: str
    kind: str
    district: str
    ownership: str
    group: int
    boarding: bool
    pupils: int
    guard_company: str
    account: str
    cameras: tuple[CameraPlan, ...]
    mqtt: tuple[MqttPlan, ...]


class _Pattern(Struct, frozen=True, kw_only=True):
    kind: str
    names: tuple[str, ...]
    cameras: int
    entrance: Kind
    pupils: tuple[int, int]


_SCHOOL = _Pattern(
    kind="school",
    names=names.SCHOOLS,
    cameras=2,
    entrance=Kind.TURNSTILE,
    pupils=(180, 1400),
)
_KINDERGARTEN = _Pattern(
    kind="kindergarten",
    names=names.KINDERGARTENS,
    cameras=2,
    entrance=Kind.INTERCOM,
    pupils=(40, 260),
)
_COLLEGE = _Pattern(
    kind="college",
    names=names.COLLEGES,
    cameras=3,
    entrance=Kind.TURNSTILE,
    pupils=(200, 900),
)
_BOARDING = _Pattern(
    kind="boarding_school",
    names=names.BOARDING_SCHOOLS,
    cameras=3,
    entrance=Kind.TURNSTILE,
    pupils=(120, 400),
)
_MIX = (
    *(_SCHOOL, _KINDERGARTEN, _SCHOOL, _KINDERGARTEN),
    *(_COLLEGE, _SCHOOL, _KINDERGARTEN, _BOARDING),
)

SITES_LIMIT = 900
"""As many as the region has: the cameras' loopback addresses are laid out for them."""

CREDENTIAL_GROUPS = {
    "cameras-a": frozenset(Scheme),
    "cameras-b": frozenset((Scheme.DIGEST_MD5,)),
    "cameras-c": frozenset((Scheme.WS_SECURITY, Scheme.DIGEST_MD5)),
}
"""The contractors' passwords, and what the cameras that they installed understand."""

_ZIGBEE_EVERY = 3
"""Each third button is a Zigbee one."""


def draw(sites: int, seed: int) -> tuple[SitePlan, ...]:
    """The same district for the same numbers. Raises ValueError beyond SITES_LIMIT."""
    if not 1 <= sites <= SITES_LIMIT:
        raise ValueError(f"from 1 to {SITES_LIMIT} sites")
    chance = random.Random(seed)
    patterns = islice(cycle(_MIX), sites)
    return tuple(_site(index, pattern, chance) for index, pattern in enumerate(patterns))


def _site(index: int, pattern: _Pattern, chance: random.Random) -> SitePlan:
    key, district = names.DISTRICTS[index % len(names.DISTRICTS)]
    site_id = f"{key}-{index // len(names.DISTRICTS) + 1:02}"
    low, high = pattern.pupils
    name = chance.choice(pattern.names).format(number=chance.randint(1, 60))
    button = Dialect.ZIGBEE2MQTT if index % _ZIGBEE_EVERY == 2 else Dialect.NATIVE
    entrance = MqttPlan(
        device_id=f"{site_id}-{pattern.entrance}",
        kind=pattern.entrance,
        place="Калитка" if pattern.entrance is Kind.INTERCOM else "Главный вход",
        dialect=Dialect.NATIVE,
    )
    panic = MqttPlan(
        device_id=f"{site_id}-panic", kind=Kind.PANIC_BUTTON, place="Пост охраны", dialect=button
    )
    return SitePlan(
        site_id=site_id,
        name=name,
        kind=pattern.kind,
        district=district,
        ownership="private" if chance.random() < 0.2 else "state",
        group=chance.randint(1, 3),
        boarding=pattern is _BOARDING,
        pupils=chance.randint(low, high),
        guard_company=chance.choice(names.GUARD_COMPANIES),
        account=f"{1000 + index}",
        cameras=tuple(_camera(site_id, index, nth, chance) for nth in range(pattern.cameras)),
        mqtt=(panic, entrance),
    )


def _camera(site_id: str, site: int, nth: int, chance: random.Random) -> CameraPlan:
    maker, model = chance.choice(names.CAMERA_MODELS)
    group = chance.choice(tuple(CREDENTIAL_GROUPS))
    # One address for each, as in life: 127.20.0.1, …; Linux takes all of 127.0.0.0/8 as its own.
    host = f"127.{20 + site // 250}.{site % 250}.{nth + 1}"
    number = site * 10 + nth + 1
    return CameraPlan(
        device_id=f"{site_id}-cam-{nth + 1}",
        place=names.CAMERA_PLACES[nth],
        host=host,
        credentials=group,
        schemes=CREDENTIAL_GROUPS[group],
        plate=Plate(
            maker=maker,
            model=model,
            serial=f"{model.replace('-', '')}{number:06}",
            mac=f"02:00:00:{number >> 16 & 0xFF:02x}:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}",
        ),
    )
