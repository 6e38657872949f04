"""Every metric of Kuzet, in one place (contract, "Metrics").

Counters and histograms are prometheus-client's. What exists once a device or site is rendered from
prepared lines: prometheus-client takes 0.56 s for 100,000 samples and would stop the event loop,
prepared lines take 0.025 s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version

from msgspec import Struct
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from gateway.model import Alarm, Audience, DeviceKind, Lane, Reason, Severity, State
from gateway.ports import Backlog, DeviceHealth

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

PRESS_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""From what the software takes to EN 50131-1's ten seconds and beyond."""

CHECK_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
"""From a camera next door to the total deadline of a check."""


class SiteStatus(Struct, frozen=True, kw_only=True):
    """Whether anything at a site answers."""

    site_id: str
    district: str
    site_kind: str
    up: bool


class Sources(Struct, frozen=True, kw_only=True):
    """What is asked at each scrape rather than counted along the way. Nothing here may block."""

    devices: Callable[[], Iterable[DeviceHealth]]
    sites: Callable[[], Iterable[SiteStatus]]
    counts: Callable[[], Mapping[tuple[str, str, str, str, str], int]]
    """(district, site kind, device kind, state, reason) → devices."""
    alarms: Callable[[], Mapping[str, int]]
    backlogs: Callable[[], Mapping[tuple[str, Lane], Backlog]]
    journal_size: Callable[[], int]
    now: Callable[[], float]
    """The wall clock, seconds since 1970."""


class PrometheusMetrics:
    """Implements `ports.Metrics`; `exposition` is what `/metrics` answers."""

    def __init__(self) -> None:
        # A second series for each counter, that nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self._registry = registry
        self._sources: Sources | None = None
        self._lines: dict[str, _DeviceLines] = {}

        info = Gauge("kuzet_build_info", "The running version.", ["version"], registry=registry)
        info.labels(version("kuzet-gateway")).set(1)
        self._checks = Histogram(
            "kuzet_check_duration_seconds",
            "How long the check of a device took.",
            ["kind"],
            buckets=CHECK_BUCKETS,
            registry=registry,
        )
        self._alarms_active = Gauge(
            "kuzet_alarms_active",
            "Operators' alarms that are not closed.",
            ["severity"],
            registry=registry,
        )
        self._alarms = Counter(
            "kuzet_alarms_total",
            "Operators' alarms raised.",
            ["condition", "severity"],
            registry=registry,
        )
        self._press = Histogram(
            "kuzet_press_to_delivery_seconds",
            "From a press received to its acceptance by a sink.",
            buckets=PRESS_BUCKETS,
            registry=registry,
        )
        self._records = Counter(
            "kuzet_journal_records_total",
            "Records committed to the journal.",
            ["lane"],
            registry=registry,
        )
        self._journal_size = Gauge(
            "kuzet_journal_size_bytes", "Bytes of the journal on disk.", registry=registry
        )
        self._backlog = Gauge(
            "kuzet_sink_backlog_records",
            "Records that a sink has still to accept.",
            ["sink", "lane"],
            registry=registry,
        )
        self._oldest = Gauge(
            "kuzet_sink_oldest_unsent_seconds",
            "Age of the oldest record that a sink has still to accept.",
            ["sink", "lane"],
            registry=registry,
        )
        self._deliveries = Counter(
            "kuzet_sink_deliveries_total",
            "Records handed to a sink, by outcome.",
            ["sink", "lane", "outcome"],
            registry=registry,
        )
        self._errors = Counter(
            "kuzet_errors_total",
            "What went wrong, by stage and reason.",
            ["stage", "reason"],
            registry=registry,
        )
        self._dropped = Counter(
            "kuzet_records_dropped_total",
            "Telemetry given up, by reason. The alarm lane never drops.",
            ["lane", "reason"],
            registry=registry,
        )
        self._connected = Gauge(
            "kuzet_mqtt_connected",
            "Whether the session with a broker stands.",
            ["broker"],
            registry=registry,
        )
        for lane in Lane:
            self._records.labels(lane)
            self._dropped.labels(lane, "overflow")

    def ask(self, sources: Sources) -> None:
        """Where each scrape finds the present state."""
        self._sources = sources

    # --- ports.Metrics ----------------------------------------------------------------------------

    def appended(self, lane: Lane, count: int) -> None:
        self._records.labels(lane).inc(count)

    def dropped(self, lane: Lane, reason: str, count: int = 1) -> None:
        self._dropped.labels(lane, reason).inc(count)

    def error(self, stage: str, reason: str) -> None:
        self._errors.labels(stage, reason).inc()

    def check_took(self, kind: DeviceKind, seconds: float) -> None:
        self._checks.labels(kind).observe(seconds)

    def broker_connected(self, broker: str, connected: bool) -> None:
        self._connected.labels(broker).set(int(connected))

    def delivered(self, sink: str, lane: Lane, outcome: str, count: int) -> None:
        self._deliveries.labels(sink, lane, outcome).inc(count)

    def press_delivered(self, seconds: float) -> None:
        self._press.observe(max(0.0, seconds))

    def alarm_raised(self, alarm: Alarm) -> None:
        if alarm.audience is Audience.OPERATOR:
            self._alarms.labels(alarm.condition, alarm.severity).inc()

    # --- /metrics ---------------------------------------------------------------------------------

    def exposition(self) -> bytes:
        """The text exposition format 0.0.4, whole."""
        if self._sources is None:
            return generate_latest(self._registry)
        self._refresh(self._sources)
        return generate_latest(self._registry) + self._inventory_lines(self._sources)

    def _refresh(self, sources: Sources) -> None:
        active = sources.alarms()
        for severity in Severity:
            self._alarms_active.labels(severity).set(active.get(severity, 0))
        self._journal_size.set(sources.journal_size())
        now = sources.now()
        for (sink, lane), backlog in sources.backlogs().items():
            self._backlog.labels(sink, lane).set(backlog.records)
            age = 0.0 if backlog.oldest is None else max(0.0, now - backlog.oldest.timestamp())
            self._oldest.labels(sink, lane).set(age)

    def _inventory_lines(self, sources: Sources) -> bytes:
        states, ups, seen = [], [], []
        devices = list(sources.devices())
        for device in devices:
            lines = self._lines.get(device.device_id)
            if lines is None or not lines.fits(device):
                lines = _DeviceLines(device)
                self._lines[device.device_id] = lines
            states.append(lines.state)
            if lines.up is not None:
                ups.append(lines.up)
            if device.last_seen is not None:
                seen.append(lines.last_seen + repr(device.last_seen.timestamp()))
        if len(self._lines) > len(devices):
            here = {device.device_id for device in devices}
            self._lines = {key: lines for key, lines in self._lines.items() if key in here}
        sites = [
            f"kuzet_site_up{_labels(site=s.site_id, district=s.district, site_kind=s.site_kind)} "
            f"{int(s.up)}"
            for s in sources.sites()
        ]
        counts = [
            "kuzet_devices"
            + _labels(district=district, site_kind=site_kind, kind=kind, state=state, reason=reason)
            + f" {count}"
            for (district, site_kind, kind, state, reason), count in sources.counts().items()
        ]
        parts = [
            *_family("kuzet_device_state", "1 for the current state of each device.", states),
            *_family("kuzet_device_up", "1 online or degraded, 0 not; absent if unknown.", ups),
            *_family(
                "kuzet_device_last_seen_timestamp_seconds", "When a device last answered.", seen
            ),
            *_family("kuzet_site_up", "Whether anything at a site answers.", sites),
            *_family("kuzet_devices", "Devices by state and reason.", counts),
        ]
        return ("\n".join(parts) + "\n").encode()


class _DeviceLines:
    """The lines of one device, made once for each change of its state."""

    __slots__ = ("_key", "last_seen", "state", "up")

    def __init__(self, device: DeviceHealth) -> None:
        self._key = (device.site_id, device.kind, device.state, device.reason)
        where = {"site": device.site_id, "device": device.device_id, "kind": device.kind}
        self.state = f"kuzet_device_state{_labels(**where, state=device.state)} 1"
        up = _up(device)
        self.up = None if up is None else f"kuzet_device_up{_labels(**where)} {up}"
        self.last_seen = f"kuzet_device_last_seen_timestamp_seconds{_labels(**where)} "

    def fits(self, device: DeviceHealth) -> bool:
        return self._key == (device.site_id, device.kind, device.state, device.reason)


def _up(device: DeviceHealth) -> int | None:
    """1, 0, or None where the device's availability must not be counted (contract, "Metrics")."""
    if device.state in (State.ONLINE, State.DEGRADED):
        return 1
    if device.state is State.OFFLINE or device.reason in (Reason.PARENT_DOWN, Reason.SITE_DARK):
        return 0
    return None


def _family(name: str, text: str, lines: list[str]) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} gauge", *lines]


def _labels(**labels: str) -> str:
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inner}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
