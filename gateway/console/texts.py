"""What things are called, in the reader's language: gettext catalogues and the closed enums' names.

English stands in the code and is the key of a translation; `locales/` holds the others as plain
`.po` files, read at start.
"""

from __future__ import annotations

import gettext
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from io import BytesIO
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

from gateway.console.users import Role
from gateway.model import AlarmState, Condition, DeviceKind, State

LANGUAGES: Mapping[str, str] = {"kk": "Қазақша", "ru": "Русский", "en": "English"}
"""Each language by its code, called as its speakers call it."""


def N_(text: str) -> str:  # noqa: N802 -- the name that gettext tools look for
    """Marks a text for translation where it stands; it is translated where it is shown."""
    return text


STATES: Mapping[State, str] = {
    State.OFFLINE: N_("offline"),
    State.DEGRADED: N_("degraded"),
    State.UNKNOWN: N_("unknown"),
    State.MAINTENANCE: N_("maintenance"),
    State.ONLINE: N_("online"),
}
"""In the order in which people look for them."""

KINDS: Mapping[DeviceKind, str] = {
    DeviceKind.CAMERA: N_("camera"),
    DeviceKind.RECORDER: N_("recorder"),
    DeviceKind.PANIC_BUTTON: N_("panic button"),
    DeviceKind.TURNSTILE: N_("turnstile"),
    DeviceKind.INTERCOM: N_("intercom"),
}

CONDITIONS: Mapping[Condition, str] = {
    Condition.PANIC: N_("PANIC"),
    Condition.TAMPER: N_("Device opened"),
    Condition.ACCESS_FORCED: N_("Forced entry"),
    Condition.DOOR_FORCED: N_("Door forced"),
    Condition.SITE_DARK: N_("Site dark"),
    Condition.DELIVERY_FAILED: N_("Alarms are not being delivered"),
    Condition.DISK_LOW: N_("Disk almost full"),
    Condition.RECORD_CORRUPT: N_("Damaged record in the journal"),
    Condition.UNREADABLE_MESSAGE: N_("Unreadable message from a panic button"),
    Condition.RETAINED_PRESS: N_("An old press left on the broker"),
}

ALARM_STATES: Mapping[AlarmState, str] = {
    AlarmState.UNACKNOWLEDGED: N_("not acknowledged"),
    AlarmState.ACKNOWLEDGED: N_("acknowledged"),
    AlarmState.CLEARED_UNACKNOWLEDGED: N_("ended, not acknowledged"),
    AlarmState.CLOSED: N_("closed"),
    AlarmState.SHELVED: N_("shelved"),
}

ROLES: Mapping[Role, str] = {
    Role.VIEWER: N_("viewer"),
    Role.TECHNICIAN: N_("technician"),
    Role.OPERATOR: N_("operator"),
    Role.ADMIN: N_("administrator"),
}

DETAILS: Mapping[str, str] = {
    "clock_skew_s": N_("Clock off by, s"),
    "maker": N_("Maker"),
    "model": N_("Model"),
    "serial": N_("Serial number"),
    "firmware": N_("Firmware"),
    "fps": N_("Frames a second"),
    "width": N_("Width, px"),
    "height": N_("Height, px"),
    "codec": N_("Codec"),
    "battery": N_("Battery"),
    "test_until": N_("In test until"),
    "maintenance_until": N_("In maintenance until"),
}
"""The names of what a check saw; others are shown by their own name."""

YES, NO = N_("yes"), N_("no")

SEEN_LENGTH = 200
"""What a device says of itself is its own to choose; a page's row has an end."""


class Language:
    """One language's catalogue and its ways of writing moments."""

    def __init__(self, code: str, catalogue: gettext.NullTranslations, zone: ZoneInfo) -> None:
        self.code = code
        self.gettext = catalogue.gettext
        self.ngettext = catalogue.ngettext
        self._locale = Locale.parse(code)
        self._zone = zone

    def clock(self, moment: datetime) -> str:
        """The time of day with seconds, `14:03:22`."""
        return format_time(moment, "HH:mm:ss", tzinfo=self._zone, locale=self._locale)

    def moment(self, moment: datetime, now: datetime) -> str:
        """A moment as short as it can be told on the day of `now`; with the date on others."""
        here, today = moment.astimezone(self._zone), now.astimezone(self._zone)
        if here.date() == today.date():
            return self.clock(moment)
        pattern = "d MMM, HH:mm" if here.year == today.year else "d MMM y, HH:mm"
        return format_datetime(moment, pattern, tzinfo=self._zone, locale=self._locale)

    def seen(self, name: str, value: object, now: datetime) -> str:
        """One thing that a check saw, as people write it."""
        match value:
            case bool():
                return self.gettext(YES if value else NO)
            case float() if name == "battery":
                return format_percent(value, locale=self._locale)
            case float():
                return format_decimal(value, locale=self._locale)
            case str() if name.endswith("_until"):
                return self.moment(datetime.fromisoformat(value), now)
            case _:
                return str(value)[:SEEN_LENGTH]


def load_languages(timezone: str) -> Mapping[str, Language]:
    """Every language by its code."""
    zone = ZoneInfo(timezone)
    return {code: Language(code, _catalogue(code), zone) for code in LANGUAGES}


def _catalogue(code: str) -> gettext.NullTranslations:
    if code == "en":
        return gettext.NullTranslations()
    written = files(__package__) / "locales" / code / "LC_MESSAGES" / "kuzet.po"
    compiled = BytesIO()
    with written.open("rb") as po:
        write_mo(compiled, read_po(po, locale=code))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def negotiate(cookie: str | None, accept_language: str, default: str) -> str:
    """The language to speak: what the reader chose, what the browser asks for (RFC 9110 section
    12.5.4), or the gateway's own."""
    if cookie is not None and cookie in LANGUAGES:
        return cookie
    for asked in _preferences(accept_language):
        if asked in LANGUAGES:
            return asked
    return default if default in LANGUAGES else "en"


def _preferences(accept_language: str) -> Sequence[str]:
    weighed = []
    # A browser sends a handful; more is not read.
    for part in accept_language.split(",")[:20]:
        tag, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        if quality > 0:
            weighed.append((quality, tag.partition("-")[0].lower()))
    return [tag for _, tag in sorted(weighed, key=lambda item: -item[0])]
