"""The composition root: builds every room from the settings, runs them, ends them in order.

The only place that knows all rooms; with `rooms.py`, which tells each its settings, the only one
that imports adapters.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from adapters import ADAPTERS, Surroundings
from adapters.mqtt.adapter import MqttAdapter
from gateway import rooms
from gateway.alarms.engine import AlarmEngine
from gateway.clock import SystemClock
from gateway.config import Config, load_config
from gateway.console.context import Check, Readiness
from gateway.console.server import Console
from gateway.console.users import UserStore
from gateway.fleet import Fleet
from gateway.forward import Fallback, Forwarder, ForwardSettings
from gateway.forward.opscenter import OpsCenterSink
from gateway.forward.selection import Kind
from gateway.intake.commit import AlarmRoad
from gateway.intake.desk import Desk
from gateway.intake.observations import Intake
from gateway.intake.presses import PressLedger, WireLedger
from gateway.inventory import diff, inventory_files, load_inventory
from gateway.journal import SqliteJournal
from gateway.metrics import PrometheusMetrics, SiteStatus, Sources
from gateway.model import AdapterName, Condition, EventType, Inventory, Lane, Record
from gateway.ports import Adapter, Backlog, InventoryChange
from gateway.reload import InventoryWatcher
from gateway.supervisor import supervise

log = logging.getLogger(__name__)

ADAPTERS_STOP_S = 3.0
DRAIN_S = 1.5
FAREWELL_S = 0.5
ALARMS_STOP_S = 0.5
FORWARD_STOP_S = 3.2
CONSOLE_STOP_S = 0.5
"""Together under the ten seconds in which SIGTERM has to be obeyed: the adapters let go of the
wire, what is committed becomes alarms, alarms get one more try to leave."""
UPKEEP_S = 1.0


class Gateway:
    """The whole gateway on the settings at `path`.

    `run` returns after `stop`. `url` is the console's address, once `ready`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._config: Config = load_config(path)
        self._clock = SystemClock()
        self._metrics = PrometheusMetrics()
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._adapters: dict[AdapterName, Adapter] = {}
        self._forwarders: list[Forwarder] = []
        self._watcher = InventoryWatcher(
            load=self._load_inventory,
            diff=diff,
            files=self._inventory_files,
            settings=path,
            clock=self._clock,
            metrics=self._metrics,
        )
        self.url = ""

    def stop(self) -> None:
        """Ends `run`, in order."""
        self._stopping.set()

    def reload(self) -> None:
        """Reads the inventory anew (SIGHUP)."""
        self._watcher.ask()

    async def ready(self) -> None:
        """Returns once the console answers and every adapter runs."""
        await self._ready.wait()

    async def run(self) -> None:
        """Builds, runs and ends everything; raises what makes a start impossible."""
        data_dir = rooms.made_data_dir(self._config)
        self._inventory = await asyncio.to_thread(self._watcher.start)
        async with AsyncExitStack() as stack:
            journal = await stack.enter_async_context(
                SqliteJournal(
                    data_dir,
                    clock=self._clock,
                    metrics=self._metrics,
                    retention_days=rooms.retention_days(self._config),
                    max_size_mb=self._config.journal.max_size_mb,
                )
            )
            self._build(journal, data_dir)
            await self._restore()
            async with asyncio.TaskGroup() as group:
                await self._run_in_order(group)
        log.info("stopped")

    # --- building ---------------------------------------------------------------------------------

    def _build(self, journal: SqliteJournal, data_dir: Path) -> None:
        config, clock, metrics = self._config, self._clock, self._metrics
        self._journal = journal
        wires = WireLedger()
        presses = PressLedger(wires)
        self._presses = presses
        self._fleet = Fleet(inventory=self._inventory, clock=clock)
        self._road = AlarmRoad(journal=journal, clock=clock, metrics=metrics, express=self._express)
        self._desk = Desk(
            gateway=config.gateway.name,
            journal=journal,
            road=self._road,
            fleet=self._fleet,
            presses=presses,
            inventory=self._inventory,
            clock=clock,
            metrics=metrics,
        )
        self._intake = Intake(
            journal=journal,
            road=self._road,
            fleet=self._fleet,
            presses=presses,
            wires=wires,
            conditions=self._desk,
            inventory=self._inventory,
            clock=clock,
            metrics=metrics,
        )
        self._alarms = AlarmEngine(
            journal=journal, submit=self._desk.command, clock=clock, metrics=metrics
        )
        self._forwarders = self._build_forwarders()
        self._adapters = self._build_adapters(data_dir)
        self._console = self._build_console(data_dir)
        metrics.ask(
            Sources(
                devices=self._fleet.devices,
                sites=self._site_status,
                counts=self._fleet.counts,
                alarms=self._alarms.active_counts,
                backlogs=self._backlogs,
                journal_size=journal.size_bytes,
                now=lambda: clock.now().timestamp(),
            )
        )

    def _build_forwarders(self) -> list[Forwarder]:
        journal, clock = self._journal, self._clock
        # A sink that is added later starts with what comes: the center has no use for old alarms.
        consumers = {
            sink.name: {lane: journal.consumer(sink.name, lane, from_start=False) for lane in Lane}
            for sink in self._config.sinks
        }
        kinds = {
            sink.name: frozenset(Kind(word) for word in sink.forward) for sink in self._config.sinks
        }
        return [
            Forwarder(
                sink=OpsCenterSink(
                    gateway=self._config.gateway.name,
                    settings=rooms.opscenter(sink),
                    clock=clock,
                ),
                alarms=consumers[sink.name][Lane.ALARM],
                telemetry=consumers[sink.name][Lane.TELEMETRY],
                settings=ForwardSettings(forward=kinds[sink.name], max_batch=sink.max_batch),
                fallback=Fallback(
                    consumer=consumers[sink.fallback][Lane.ALARM], forward=kinds[sink.fallback]
                )
                if sink.fallback
                else None,
                clock=clock,
                metrics=self._metrics,
                conditions=self._desk,
            )
            for sink in self._config.sinks
        ]

    def _build_adapters(self, data_dir: Path) -> dict[AdapterName, Adapter]:
        surroundings = Surroundings(
            inventory=self._inventory,
            cameras=rooms.cameras(self._config),
            mqtt=rooms.mqtt(self._config),
            clock=self._clock,
            metrics=self._metrics,
            data_dir=data_dir,
        )
        built = {name: build(surroundings) for name, build in ADAPTERS.items()}
        return {name: adapter for name, adapter in built.items() if adapter is not None}

    def _build_console(self, data_dir: Path) -> Console:
        return Console(
            settings=rooms.console(self._config),
            fleet=self._fleet,
            alarms=self._alarms,
            sites=lambda: self._inventory.sites,
            commands=self._desk,
            health=self._readiness,
            exposition=self._metrics.exposition,
            users=UserStore(data_dir / rooms.USERS_FILE),
            clock=self._clock,
            in_test=lambda: self._presses.in_test(self._clock.now()),
        )

    # --- running ----------------------------------------------------------------------------------

    async def _restore(self) -> None:
        await self._desk.restore()
        await self._intake.restore()
        await self._alarms.restore()

    async def _run_in_order(self, group: asyncio.TaskGroup) -> None:
        """Starts from the sink to the source, and ends from the source to the sink."""
        console = self._supervised(group, "console", self._console.run)
        forwards = [
            self._supervised(group, "forward", forwarder.run) for forwarder in self._forwarders
        ]
        alarms = self._supervised(group, "alarms", self._alarms.run)
        group.create_task(self._desk.announce(EventType.GATEWAY_STARTED), name="started")
        inner = [
            self._supervised(group, "inventory", lambda: self._watcher.run(self._apply)),
            self._supervised(group, "upkeep", self._keep_up),
        ]
        outer = [
            self._supervised(group, f"adapter:{name}", self._runner(adapter))
            for name, adapter in self._adapters.items()
        ]
        telling = group.create_task(self._tell_ready(), name="ready")
        await self._stopping.wait()
        log.info("stopping")
        await _end([telling, *inner, *outer], ADAPTERS_STOP_S)
        await self._drain()
        await _end([group.create_task(self._farewell(), name="farewell")], 0, FAREWELL_S)
        await _end([alarms], ALARMS_STOP_S)
        await _end(forwards, FORWARD_STOP_S)
        await _end([console], CONSOLE_STOP_S)
        self._road.abandon()

    async def _tell_ready(self) -> None:
        """A console that cannot listen is tried again and told in the log; presses go on."""
        while not all(adapter.ready() for adapter in self._adapters.values()):
            await self._clock.sleep(0.01)
        await self._console.serving()
        self.url = self._console.url
        log.info("ready: console=%s", self.url)
        self._ready.set()

    async def _farewell(self) -> None:
        await self._desk.announce(EventType.GATEWAY_STOPPED)

    def _supervised(
        self,
        group: asyncio.TaskGroup,
        name: str,
        run: Callable[[], Awaitable[None]],
    ) -> asyncio.Task[None]:
        return group.create_task(
            supervise(name, run, clock=self._clock, metrics=self._metrics), name=name
        )

    def _runner(self, adapter: Adapter) -> Callable[[], Awaitable[None]]:
        return lambda: adapter.run(self._intake.emit)

    async def _drain(self) -> None:
        """What was taken is committed, what is committed has become alarms, and those have left;
        as far as a moment allows. The rest is on disk and goes on at the next start."""
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._road.drained()
                while self._alarms.behind() or any(
                    backlog.records
                    for (_, lane), backlog in self._backlogs().items()
                    if lane is Lane.ALARM
                ):
                    await self._clock.sleep(0.02)
        except TimeoutError:
            log.warning("stopping with alarms that are not delivered: they go on at the next start")

    async def _keep_up(self) -> None:
        """What is due by the clock, and what the journal found by itself."""
        while True:
            await self._clock.sleep(UPKEEP_S)
            changes = self._fleet.expire_maintenance(self._clock.now())
            if changes:
                await self._desk.publish(changes)
            low = self._journal.disk_low()
            detail = "less than 5 % of the disk is free: telemetry is refused" if low else ""
            await self._desk.tell(Condition.DISK_LOW, "telemetry", active=low, detail=detail)
            for lane, sequence, record_id in self._journal.take_corrupt():
                await self._desk.tell(
                    Condition.RECORD_CORRUPT,
                    f"journal-{lane}",
                    active=True,
                    detail=f"record {record_id} at {sequence}: `kuzet journal verify` lists all",
                )

    async def _apply(self, inventory: Inventory, change: InventoryChange) -> None:
        self._inventory = inventory
        self._fleet.apply(inventory)
        self._desk.apply(inventory)
        self._intake.apply(inventory)
        # Together: the trouble of one must not keep a new button from the others.
        await asyncio.gather(
            *(adapter.apply(inventory, change) for adapter in self._adapters.values())
        )

    def _express(self, records: Sequence[Record]) -> None:
        """The memory road: these cannot be committed now, so they go out as they are, with the
        alarms that they will raise."""
        both = [*records, *self._alarms.foresee(records)]
        log.error("%d records of the alarm lane go out from memory", len(both))
        for forwarder in self._forwarders:
            forwarder.express(both)

    # --- what others ask --------------------------------------------------------------------------

    def _load_inventory(self) -> Inventory:
        files = self._config.inventory
        return load_inventory(
            files.sites,
            files.devices,
            files.credentials,
            mqtt_configured=self._config.mqtt is not None,
        )

    def _inventory_files(self) -> Sequence[Path]:
        files = self._config.inventory
        return inventory_files(files.sites, files.devices, files.credentials)

    def _backlogs(self) -> Mapping[tuple[str, Lane], Backlog]:
        return {
            (forwarder.name, lane): backlog
            for forwarder in self._forwarders
            for lane, backlog in forwarder.backlogs().items()
        }

    def _site_status(self) -> list[SiteStatus]:
        return [
            SiteStatus(site_id=site.site_id, district=site.district, site_kind=site.kind, up=up)
            for site, up in self._fleet.sites_up()
        ]

    def _readiness(self) -> Readiness:
        checks = [
            Check(name="journal", ok=self._journal.writable(), required=True),
            Check(
                name="inventory",
                ok=True,
                required=True,
                detail="; ".join(str(problem) for problem in self._watcher.problems[:5]),
            ),
            *(
                Check(name=f"adapter {name}", ok=adapter.ready(), required=True)
                for name, adapter in self._adapters.items()
            ),
        ]
        mqtt = self._adapters.get(AdapterName.MQTT)
        if isinstance(mqtt, MqttAdapter):
            checks += [
                Check(name=f"broker {session}", ok=stands, required=False)
                for session, stands in mqtt.brokers().items()
            ]
        for forwarder in self._forwarders:
            for lane, health in forwarder.health().items():
                checks.append(
                    Check(
                        name=f"sink {forwarder.name} {lane}",
                        ok=health.state == "ok",
                        required=False,
                        detail=health.error,
                    )
                )
        return Readiness(checks=tuple(checks))


async def _end(tasks: Sequence[asyncio.Task[None]], within_s: float, grace_s: float = 0.0) -> None:
    """Cancels tasks, after `grace_s`, and waits until they have tidied up, at most so long."""
    if grace_s:
        await asyncio.wait(tasks, timeout=grace_s)
    for task in tasks:
        task.cancel()
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=within_s)
        for task in late:
            log.warning("%s does not end", task.get_name())
