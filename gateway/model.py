"""The one model that every device, room and sink speaks: frozen values and closed enums.

Times are aware UTC `datetime`s, durations are seconds as `float`, identifiers are `str`.
A value from the wire that no enum knows is mapped by its decoder, never passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct

# --- the inventory -------------------------------------------------------------------------------


class SiteKind(StrEnum):
    KINDERGARTEN = "kindergarten"
    SCHOOL = "school"
    COLLEGE = "college"
    BOARDING_SCHOOL = "boarding_school"
    OTHER = "other"


class Ownership(StrEnum):
    STATE = "state"
    PRIVATE = "private"


class DeviceKind(StrEnum):
    CAMERA = "camera"
    RECORDER = "recorder"
    PANIC_BUTTON = "panic_button"
    TURNSTILE = "turnstile"
    INTERCOM = "intercom"


class AdapterName(StrEnum):
    ONVIF = "onvif"
    RTSP = "rtsp"
    MQTT = "mqtt"


class Technology(StrEnum):
    DIGITAL = "digital"
    ANALOGUE = "analogue"


class Site(Struct, frozen=True, kw_only=True):
    """One organisation: a row of `sites.csv`. `extra` holds its `x_` columns."""

    site_id: str
    name: str
    kind: SiteKind
    district: str = ""
    ownership: Ownership = Ownership.STATE
    group: int | None = None
    boarding: bool = False
    pupils: int | None = None
    guard_company: str = ""
    account: str = ""
    provider: str = ""
    contractor: str = ""
    phone: str = ""
    address: str = ""
    latitude: float | None = None
    longitude: float | None = None
    extra: Mapping[str, str] = {}


class Device(Struct, frozen=True, kw_only=True):
    """One device: a row of `devices.csv`. `extra` holds its `x_` columns."""

    device_id: str
    site_id: str
    kind: DeviceKind
    name: str
    adapter: AdapterName
    address: str = ""
    rtsp_port: int | None = None
    credentials: str = ""
    parent: str = ""
    channel: int | None = None
    technology: Technology | None = None
    location: str = ""
    dialect: str = ""
    topic: str = ""
    heartbeat_s: float | None = None
    linked: tuple[str, ...] = ()
    installed_on: date | None = None
    maker: str = ""
    model: str = ""
    serial: str = ""
    extra: Mapping[str, str] = {}


class Credentials(Struct, frozen=True, kw_only=True):
    """A user name and its secret. `repr` never shows the secret."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, password=***)"


class Inventory(Struct, frozen=True, kw_only=True):
    """All sites, devices and credential groups, each by its id; consistent by construction."""

    sites: Mapping[str, Site] = {}
    devices: Mapping[str, Device] = {}
    credentials: Mapping[str, Credentials] = {}


# --- what devices say ----------------------------------------------------------------------------


class EventType(StrEnum):
    PANIC_PRESSED = "panic.pressed"
    PANIC_RELEASED = "panic.released"
    PANIC_TEST = "panic.test"
    TAMPER_OPENED = "tamper.opened"
    TAMPER_CLOSED = "tamper.closed"
    BATTERY_LOW = "battery.low"
    BATTERY_OK = "battery.ok"
    MAINS_LOST = "power.mains_lost"
    MAINS_RESTORED = "power.mains_restored"
    ACCESS_PASSED = "access.passed"
    ACCESS_DENIED = "access.denied"
    ACCESS_FORCED = "access.forced"
    DOOR_OPENED = "door.opened"
    DOOR_CLOSED = "door.closed"
    DOOR_HELD_OPEN = "door.held_open"
    DOOR_FORCED = "door.forced"
    INTERCOM_CALLED = "intercom.called"
    INTERCOM_ANSWERED = "intercom.answered"
    INTERCOM_UNLOCKED = "intercom.unlocked"
    CAMERA_MOTION = "camera.motion"
    CAMERA_TAMPER = "camera.tamper"
    CAMERA_SCENE_CHANGED = "camera.scene_changed"
    CAMERA_SIGNAL_LOST = "camera.signal_lost"
    CAMERA_INPUT = "camera.input"
    CAMERA_STORAGE_FAILED = "camera.storage_failed"
    CAMERA_LINE_CROSSED = "camera.line_crossed"
    CAMERA_OBJECT = "camera.object"
    DEVICE_HEALTH = "device.health"
    SITE_DARK = "site.dark"
    SITE_RESTORED = "site.restored"
    GATEWAY_BLIND = "gateway.blind"
    GATEWAY_SIGHTED = "gateway.sighted"
    GATEWAY_STARTED = "gateway.started"
    GATEWAY_STOPPED = "gateway.stopped"


class Severity(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


class State(StrEnum):
    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"
    UNKNOWN = "unknown"
    MAINTENANCE = "maintenance"


class Reason(StrEnum):
    """Why a device is not `online`; one list for logs, metrics, pages and advice."""

    NEVER_SEEN = "never_seen"
    DNS_FAILURE = "dns_failure"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TLS_ERROR = "tls_error"
    AUTH_FAILED = "auth_failed"
    LOCKED_OUT = "locked_out"
    CLOCK_SKEW = "clock_skew"
    PROTOCOL_ERROR = "protocol_error"
    NO_PROFILE = "no_profile"
    STREAM_NOT_FOUND = "stream_not_found"
    STREAM_REFUSED = "stream_refused"
    NO_PACKETS = "no_packets"
    LOW_RATE = "low_rate"
    PICTURE_BLACK = "picture_black"
    PICTURE_FROZEN = "picture_frozen"
    PICTURE_BLURRED = "picture_blurred"
    PICTURE_COVERED = "picture_covered"
    PICTURE_MOVED = "picture_moved"
    SIGNAL_LOST = "signal_lost"
    CHANNEL_MISSING = "channel_missing"
    STORAGE_FAILED = "storage_failed"
    EVENTS_LOST = "events_lost"
    HEARTBEAT_LATE = "heartbeat_late"
    HEARTBEAT_LOST = "heartbeat_lost"
    BATTERY_LOW = "battery_low"
    TAMPERED = "tampered"
    MAINS_LOST = "mains_lost"
    PARENT_DOWN = "parent_down"
    SITE_DARK = "site_dark"
    GATEWAY_BLIND = "gateway_blind"
    MAINTENANCE = "maintenance"


STATE_OF: Mapping[Reason, State] = {
    **dict.fromkeys(
        (
            Reason.DNS_FAILURE,
            Reason.UNREACHABLE,
            Reason.REFUSED,
            Reason.TIMEOUT,
            Reason.TLS_ERROR,
            Reason.AUTH_FAILED,
            Reason.LOCKED_OUT,
            Reason.PROTOCOL_ERROR,
            Reason.NO_PROFILE,
            Reason.STREAM_NOT_FOUND,
            Reason.STREAM_REFUSED,
            Reason.NO_PACKETS,
            Reason.SIGNAL_LOST,
            Reason.CHANNEL_MISSING,
            Reason.HEARTBEAT_LOST,
        ),
        State.OFFLINE,
    ),
    **dict.fromkeys(
        (
            Reason.CLOCK_SKEW,
            Reason.LOW_RATE,
            Reason.PICTURE_BLACK,
            Reason.PICTURE_FROZEN,
            Reason.PICTURE_BLURRED,
            Reason.PICTURE_COVERED,
            Reason.PICTURE_MOVED,
            Reason.STORAGE_FAILED,
            Reason.EVENTS_LOST,
            Reason.HEARTBEAT_LATE,
            Reason.BATTERY_LOW,
            Reason.TAMPERED,
            Reason.MAINS_LOST,
        ),
        State.DEGRADED,
    ),
    **dict.fromkeys(
        (Reason.NEVER_SEEN, Reason.PARENT_DOWN, Reason.SITE_DARK, Reason.GATEWAY_BLIND),
        State.UNKNOWN,
    ),
    Reason.MAINTENANCE: State.MAINTENANCE,
}
"""The state that each reason stands for (contract, "Reasons")."""


class Wire(Struct, frozen=True, kw_only=True):
    """How a message reached us over MQTT: what proves that another one is its redelivery.

    `session` names one life of the session on the broker: it changes when the broker forgot it.
    `session_lost` is true for retained messages received while a lost session is being rebuilt.
    """

    session: str
    packet_id: int
    dup: bool
    retained: bool
    digest: str
    session_lost: bool = False


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="body", tag="event"):
    """Something happened at a device.

    An adapter fills what the device said; intake stamps `record_id`, `site_id`, `kind`, `severity`
    and `received_at`. `occurred_at` is the device's clock and may lie; None where it said nothing.
    `active` is None for a momentary event, else whether a condition began or ended.
    `native_id` is the device's own id of the event.
    """

    device_id: str
    type: EventType
    received_at: datetime
    occurred_at: datetime | None = None
    active: bool | None = None
    attributes: Mapping[str, Any] = {}
    native_id: str | None = None
    wire: Wire | None = None
    record_id: str = ""
    site_id: str = ""
    kind: DeviceKind | None = None
    severity: Severity = Severity.INFO
    exercise: bool = False


class HealthReport(Struct, frozen=True, kw_only=True):
    """What one reading of a device showed. Readings reach fleet and metrics, changes the journal.

    A report is the whole of what its adapter knows of the device at that moment: the worst reason
    stands in `reason`, the others in `details["reasons"]`. `details` holds JSON values that the
    reading saw: `clock_skew_s`, `maker`, `fps`, `battery`, …
    """

    device_id: str
    state: State
    reason: Reason | None = None
    observed_at: datetime
    latency_s: float | None = None
    details: Mapping[str, Any] = {}


class FindingCause(StrEnum):
    """Why a message from a panic device needs a technician's eyes."""

    UNREADABLE = "unreadable_message"
    RETAINED = "retained_press"


class Finding(Struct, frozen=True, kw_only=True, tag_field="body", tag="finding"):
    """A message of a panic device that may have been a press: a technician's item."""

    device_id: str
    cause: FindingCause
    received_at: datetime
    topic: str
    excerpt: str
    detail: str
    wire: Wire | None = None
    record_id: str = ""
    site_id: str = ""


Observation = Event | HealthReport | Finding


# --- what the journal keeps ----------------------------------------------------------------------


class Lane(StrEnum):
    """Alarms have their own road: own files, cursors, reserve and connections."""

    ALARM = "alarm"
    TELEMETRY = "telemetry"


class Retention(StrEnum):
    ACCESS = "access"
    EVENT = "event"
    HEALTH = "health"
    ALARM = "alarm"
    AUDIT = "audit"


class HealthChange(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="body", tag="health"
):
    """A device's health changed."""

    device_id: str
    site_id: str
    kind: DeviceKind
    state: State
    reason: Reason | None
    previous: State
    changed_at: datetime
    details: Mapping[str, Any] = {}


class Condition(StrEnum):
    """What an alarm is about."""

    PANIC = "panic"
    TAMPER = "tamper"
    ACCESS_FORCED = "access_forced"
    DOOR_FORCED = "door_forced"
    SITE_DARK = "site_dark"
    DELIVERY_FAILED = "delivery_failed"
    DISK_LOW = "disk_low"
    RECORD_CORRUPT = "record_corrupt"
    UNREADABLE_MESSAGE = "unreadable_message"
    RETAINED_PRESS = "retained_press"


class Audience(StrEnum):
    """Who has to respond: an operator's alarm or a technician's work item."""

    OPERATOR = "operator"
    TECHNICIAN = "technician"


class AlarmState(StrEnum):
    """ISA-18.2 states, as the API names them."""

    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    CLEARED_UNACKNOWLEDGED = "cleared_unacknowledged"
    CLOSED = "closed"
    SHELVED = "shelved"


class Alarm(Struct, frozen=True, kw_only=True):
    """One alarm as the API shows it: one per device and condition until it is closed."""

    alarm_id: str
    device_id: str
    site_id: str
    condition: Condition
    severity: Severity
    state: AlarmState
    active: bool
    acknowledged: bool
    raised_at: datetime
    updated_at: datetime
    count: int = 1
    exercise: bool = False
    shelved_until: datetime | None = None
    cleared_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    audience: Audience = Audience.OPERATOR
    detail: str = ""


class Transition(StrEnum):
    """What happened to an alarm; the last part of its CloudEvent's type."""

    RAISED = "raised"
    UPDATED = "updated"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"


class AlarmTransition(Struct, frozen=True, kw_only=True, tag_field="body", tag="alarm"):
    """One step of an alarm: the alarm after the step, and the record that caused it."""

    transition: Transition
    alarm: Alarm
    caused_by: str
    by: str | None = None
    comment: str | None = None


class CommandName(StrEnum):
    ACKNOWLEDGE = "acknowledge"
    CLEAR = "clear"
    COMMENT = "comment"
    SHELVE = "shelve"
    TEST_MODE = "test_mode"
    MAINTENANCE = "maintenance"


class Command(Struct, frozen=True, kw_only=True, tag_field="body", tag="command"):
    """What a person asked for, with who, when and why. `target` is an alarm's or a device's id."""

    name: CommandName
    target: str
    by: str
    at: datetime
    comment: str = ""
    minutes: float | None = None


class GatewayCondition(Struct, frozen=True, kw_only=True, tag_field="body", tag="condition"):
    """Something is wrong (or mended) with the gateway itself: it becomes a local alarm.

    `subject` tells conditions of one kind apart, such as the name of a sink.
    """

    condition: Condition
    subject: str
    active: bool
    at: datetime
    detail: str = ""


Body = Event | HealthChange | Finding | AlarmTransition | Command | GatewayCondition


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of the journal. `record_id` is the same for the same thing, however often it comes.

    `type` is the body's event type, `alarm.<transition>`, `device.health`, or an internal name.
    `key` names what the record tells the present state of (a device's health, an alarm):
    `Journal.latest` gives the last record of every key of a type's family.
    """

    record_id: str
    lane: Lane
    retention: Retention
    type: str
    recorded_at: datetime
    body: Body
    key: str | None = None


class Stored(Struct, frozen=True, kw_only=True):
    """A record with its place in its lane: `sequence` grows, and may have gaps."""

    sequence: int
    record: Record
