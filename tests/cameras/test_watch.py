"""What becomes of checks: confirmation, recorders and channels, changes, and the fence."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.address import Target
from adapters.hosts import HostGate
from adapters.ladder import Ladder, RungName
from adapters.recorders import Recorders
from adapters.watch import CameraSettings, Watch
from gateway.errors import DeviceFault
from gateway.model import AdapterName, Device, DeviceKind, Inventory, Reason, State
from gateway.ports import InventoryChange
from tests.cameras.neighbours import CountingMetrics, Listener, device, inventory
from tests.peers import until
from tests.simulated_clock import SimulatedClock

INTERVAL_S = 60.0
SETTINGS = CameraSettings(health_interval_s=INTERVAL_S)


class ScriptedCheck:
    """A `Check` whose devices fail as `faults` says, without a network."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self.faults: dict[str, Exception] = {}
        self.skewed: set[str] = set()
        self.hanging: set[str] = set()
        self.times: dict[str, list[float]] = {}
        self.wholes: Counter[str] = Counter()
        self.running: Counter[str] = Counter()
        self.most_running: Counter[str] = Counter()
        self.forgotten: list[str] = []
        self.takes_s = 0.0

    async def climb(self, target: Target, ladder: Ladder, *, whole: bool) -> None:
        device_id, host = target.device.device_id, target.address.host
        self.times.setdefault(device_id, []).append(self._clock.monotonic())
        self.wholes[device_id] += whole
        self.running[host] += 1
        self.most_running[host] = max(self.most_running[host], self.running[host])
        try:
            async with ladder.rung(RungName.ONVIF) as step:
                await self._clock.sleep(self.takes_s)
                if device_id in self.hanging:
                    await asyncio.Event().wait()
                if device_id in self.faults:
                    raise self.faults[device_id]
                step.note("answers")
            async with ladder.rung(RungName.CLOCK) as step:
                if device_id in self.skewed:
                    step.note("+99 s", Reason.CLOCK_SKEW)
        finally:
            self.running[host] -= 1

    def forget(self, device_id: str) -> None:
        self.forgotten.append(device_id)


class Rig:
    """A watch on a scripted check, and everything around it."""

    def __init__(self, *devices: Device, settings: CameraSettings = SETTINGS) -> None:
        self.clock = SimulatedClock()
        self.check = ScriptedCheck(self.clock)
        self.listener = Listener()
        self.metrics = CountingMetrics()
        self.hosts = HostGate()
        self.recorders = Recorders()
        self.watch = self.another(AdapterName.ONVIF, inventory(*devices), settings)

    def another(
        self, adapter: AdapterName, inventory: Inventory, settings: CameraSettings = SETTINGS
    ) -> Watch:
        return Watch(
            adapter=adapter,
            check=self.check,
            settings=settings,
            inventory=inventory,
            clock=self.clock,
            metrics=self.metrics,
            hosts=self.hosts,
            recorders=self.recorders,
        )

    @asynccontextmanager
    async def running(self, *others: Watch) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(one.run(self.listener)) for one in (self.watch, *others)]
        try:
            await self.clock.advance(0)
            yield
        finally:
            for task in tasks:
                task.cancel()
            done, _ = await asyncio.wait(tasks)
            assert all(task.cancelled() for task in done)


def camera(number: int = 1, **rest: object) -> Device:
    return device(f"http://10.0.0.{number}", device_id=f"camera-{number}", **rest)  # type: ignore[arg-type]


def refused() -> DeviceFault:
    return DeviceFault(Reason.REFUSED, "the host refuses")


async def test_every_check_is_reported_with_what_it_saw() -> None:
    rig = Rig(camera())
    async with rig.running():
        assert rig.watch.ready()
        await rig.clock.advance(3 * INTERVAL_S)
    assert not rig.watch.ready()
    assert [report.state for report in rig.listener.reports] == [State.ONLINE] * 3
    assert rig.listener.reports[0].latency_s is not None
    assert rig.metrics.checks[DeviceKind.CAMERA] == 3


async def test_offline_only_after_a_second_failure_ten_seconds_later() -> None:
    rig = Rig(camera())
    async with rig.running():
        await rig.clock.advance(INTERVAL_S)
        rig.check.faults["camera-1"] = refused()
        await rig.clock.advance(INTERVAL_S * 1.1)
        failed_at = rig.check.times["camera-1"][-2:]
        assert 10 <= failed_at[1] - failed_at[0] <= 10.5
        last = rig.listener.last("camera-1")
        assert last is not None
        assert (last.state, last.reason) == (State.OFFLINE, Reason.REFUSED)
        assert last.details["finding"] == "the host refuses"
        assert last.details["rung"] == "onvif"
        # The unconfirmed failure in between was reported as nothing at all.
        assert [report.state for report in rig.listener.reports][-2] is State.ONLINE
        assert len(rig.listener.reports) == len(rig.check.times["camera-1"]) - 1


async def test_one_failure_alone_is_never_told() -> None:
    rig = Rig(camera())
    async with rig.running():
        await rig.clock.advance(INTERVAL_S)
        rig.check.faults["camera-1"] = refused()
        seen = len(rig.check.times["camera-1"])
        while len(rig.check.times["camera-1"]) == seen:
            await rig.clock.advance(1)
        del rig.check.faults["camera-1"]
        await rig.clock.advance(3 * INTERVAL_S)
    assert {report.state for report in rig.listener.reports} == {State.ONLINE}


async def test_a_dead_device_that_answers_is_online_at_once() -> None:
    rig = Rig(camera())
    rig.check.faults["camera-1"] = refused()
    async with rig.running():
        await rig.clock.advance(20 * INTERVAL_S)
        assert rig.listener.shows("camera-1", "offline", "refused")
        del rig.check.faults["camera-1"]
        checks = len(rig.check.times["camera-1"])
        while len(rig.check.times["camera-1"]) == checks:
            await rig.clock.advance(10)
        assert rig.listener.shows("camera-1", "online")


async def test_the_worst_reason_is_told_first_and_the_others_beside_it() -> None:
    ladder = Ladder(SimulatedClock())
    async with ladder.rung(RungName.CLOCK) as step:
        step.note("+99 s", Reason.CLOCK_SKEW)
    with pytest.raises(DeviceFault):
        async with ladder.rung(RungName.DESCRIBE):
            raise DeviceFault(Reason.STREAM_NOT_FOUND, "404")
    assert ladder.state is State.OFFLINE
    assert [rung.reason for rung in ladder.faults] == [Reason.STREAM_NOT_FOUND, Reason.CLOCK_SKEW]


async def test_a_degraded_device_is_told_without_confirmation() -> None:
    rig = Rig(camera())
    rig.check.skewed.add("camera-1")
    async with rig.running():
        await rig.clock.advance(INTERVAL_S)
        assert rig.listener.shows("camera-1", "degraded", "clock_skew")


async def test_the_whole_ladder_comes_hourly_and_after_trouble() -> None:
    rig = Rig(camera())
    async with rig.running():
        await rig.clock.advance(INTERVAL_S)
        assert rig.check.wholes["camera-1"] == 1
        await rig.clock.advance(3600)
        assert rig.check.wholes["camera-1"] == 2
        rig.check.faults["camera-1"] = refused()
        await rig.clock.advance(INTERVAL_S)
        routine_failed, *confirmed = rig.check.times["camera-1"][-2:]
        assert confirmed
        assert rig.check.wholes["camera-1"] == 3
        assert routine_failed < confirmed[0]


async def test_only_devices_of_its_own_adapter_are_asked() -> None:
    rig = Rig(
        camera(1),
        camera(2, adapter=AdapterName.RTSP),
        device("", device_id="button-1", kind=DeviceKind.PANIC_BUTTON, adapter=AdapterName.MQTT),
    )
    async with rig.running():
        await rig.clock.advance(2 * INTERVAL_S)
    assert set(rig.check.times) == {"camera-1"}


async def test_no_more_than_two_checks_of_one_host_at_a_time() -> None:
    cameras = [
        device("http://10.0.0.9", device_id=f"camera-{number}", parent="r", channel=number)
        for number in range(1, 17)
    ]
    rig = Rig(*cameras)
    rig.check.takes_s = 6.0
    async with rig.running():
        await rig.clock.advance(2 * INTERVAL_S)
    assert len(rig.check.times) == 16
    assert rig.check.most_running["10.0.0.9"] == 2


async def test_a_host_that_hangs_costs_the_others_nothing() -> None:
    hanging = [
        device("http://10.0.0.9", device_id=f"hanging-{number}", parent="r", channel=number)
        for number in range(1, 17)
    ]
    settings = CameraSettings(health_interval_s=1.0, concurrency=3, deadline_s=3600)
    rig = Rig(*hanging, camera(1), camera(2), settings=settings)
    rig.check.hanging = {one.device_id for one in hanging}
    async with rig.running():
        await rig.clock.advance(10)
        assert rig.check.running["10.0.0.9"] == 2
        assert len(rig.check.times["camera-1"]) >= 9
        assert len(rig.check.times["camera-2"]) >= 9


async def test_a_check_that_hangs_is_a_timeout() -> None:
    rig = Rig(camera(), settings=CameraSettings(health_interval_s=1.0, deadline_s=0.02))
    rig.check.hanging.add("camera-1")
    async with rig.running():
        for checks in (1, 2):
            while len(rig.check.times.get("camera-1", ())) < checks:
                await rig.clock.advance(0.25)
            await until(lambda: not rig.check.running["10.0.0.1"])  # the deadline is real time
        await until(lambda: rig.listener.shows("camera-1", "offline", "timeout"))


# --- recorders -----------------------------------------------------------------------------------


def behind(*, channels: int = 4, adapter: AdapterName = AdapterName.ONVIF) -> list[Device]:
    recorder = device("http://10.0.0.9", device_id="recorder", kind=DeviceKind.RECORDER)
    cameras = [
        device(
            "rtsp://10.0.0.9/live" if adapter is AdapterName.RTSP else "",
            device_id=f"channel-{number}",
            parent="recorder",
            channel=number,
            adapter=adapter,
        )
        for number in range(1, channels + 1)
    ]
    return [recorder, *cameras]


@pytest.mark.parametrize("adapter", [AdapterName.ONVIF, AdapterName.RTSP])
async def test_a_dead_recorder_is_one_fault_and_not_its_channels_(adapter: AdapterName) -> None:
    """Whichever adapter asks the channels, and whoever notices first."""
    devices = behind(adapter=adapter)
    rig = Rig(*devices)
    other = rig.another(AdapterName.RTSP, inventory(*devices))
    ids = [one.device_id for one in devices]
    async with rig.running(other):
        await rig.clock.advance(2 * INTERVAL_S)
        assert all(rig.listener.shows(device_id, "online") for device_id in ids)
        rig.check.faults = {device_id: refused() for device_id in ids}
        await rig.clock.advance(2 * INTERVAL_S)
        assert rig.listener.shows("recorder", "offline", "refused")
        for device_id in ids[1:]:
            assert rig.listener.shows(device_id, "unknown", "parent_down")
            told = {report.state for report in rig.listener.of(device_id)}
            assert told == {State.ONLINE, State.UNKNOWN}
        # What cannot answer is not asked.
        asked = Counter({device_id: len(rig.check.times[device_id]) for device_id in ids[1:]})
        await rig.clock.advance(3 * INTERVAL_S)
        assert asked == {device_id: len(rig.check.times[device_id]) for device_id in ids[1:]}
        rig.check.faults.clear()
        await rig.clock.advance(7 * INTERVAL_S)
        assert all(rig.listener.shows(device_id, "online") for device_id in ids)


async def test_one_dead_channel_of_a_live_recorder_is_that_channel_s_fault() -> None:
    rig = Rig(*behind())
    rig.check.faults["channel-2"] = refused()
    async with rig.running():
        await rig.clock.advance(3 * INTERVAL_S)
        assert rig.listener.shows("recorder", "online")
        assert rig.listener.shows("channel-1", "online")
        assert rig.listener.shows("channel-2", "offline", "refused")


async def test_a_wrong_password_of_a_channel_says_nothing_about_the_recorder() -> None:
    rig = Rig(*behind())
    rig.check.faults["channel-2"] = DeviceFault(Reason.AUTH_FAILED, "refused")
    async with rig.running():
        await rig.clock.advance(2 * INTERVAL_S)
        checks = len(rig.check.times["recorder"])
        await rig.clock.advance(INTERVAL_S)
        assert len(rig.check.times["recorder"]) == checks + 1  # nobody hastened it
        assert rig.listener.shows("channel-2", "offline", "auth_failed")


# --- changes -------------------------------------------------------------------------------------


async def test_only_what_changed_is_touched() -> None:
    rig = Rig(camera(1), camera(2), camera(3))
    async with rig.running():
        await rig.clock.advance(INTERVAL_S)
        moved = device("http://10.0.0.44", device_id="camera-2")
        change = InventoryChange(
            added=frozenset({"camera-5"}),
            removed=frozenset({"camera-1"}),
            changed=frozenset({"camera-2"}),
        )
        before = {device_id: len(times) for device_id, times in rig.check.times.items()}
        await rig.watch.apply(inventory(moved, camera(3), camera(5)), change)
        assert sorted(rig.check.forgotten) == ["camera-1", "camera-2", "camera-5"]
        await rig.clock.advance(10.5)
        after = {device_id: len(times) for device_id, times in rig.check.times.items()}
        assert after["camera-2"] == before["camera-2"] + 1
        assert after["camera-5"] == 1
        await rig.clock.advance(3 * INTERVAL_S)
        assert len(rig.check.times["camera-1"]) == before["camera-1"]
        assert len(rig.check.times["camera-3"]) == before["camera-3"] + 3


async def test_a_check_in_flight_of_a_removed_device_hangs_up_and_tells_nothing() -> None:
    rig = Rig(camera())
    rig.check.hanging.add("camera-1")
    async with rig.running():
        await rig.clock.advance(INTERVAL_S)
        assert rig.check.running["10.0.0.1"] == 1
        await rig.watch.apply(inventory(), InventoryChange(removed=frozenset({"camera-1"})))
        await rig.clock.advance(INTERVAL_S)
        assert rig.check.running["10.0.0.1"] == 0
    assert not rig.listener.reports


async def test_a_recorder_s_new_address_is_its_channels_too() -> None:
    rig = Rig(*behind())
    async with rig.running():
        await rig.clock.advance(INTERVAL_S)
        _, *channels = behind()
        moved = device("http://10.0.0.10", device_id="recorder", kind=DeviceKind.RECORDER)
        change = InventoryChange(changed=frozenset({"recorder"}))
        await rig.watch.apply(inventory(moved, *channels), change)
        await rig.clock.advance(INTERVAL_S)
        assert rig.check.most_running["10.0.0.10"] >= 1
        assert rig.check.wholes["channel-1"] == 2


async def test_a_change_between_two_lives_counts_in_the_next() -> None:
    rig = Rig(camera(1))
    await rig.watch.apply(inventory(camera(2)), InventoryChange(added=frozenset({"camera-2"})))
    async with rig.running():
        await rig.clock.advance(INTERVAL_S)
    async with rig.running():
        await rig.clock.advance(INTERVAL_S)
    assert {device_id: len(times) for device_id, times in rig.check.times.items()} == {
        "camera-2": 2
    }


# --- trouble of our own --------------------------------------------------------------------------


async def test_an_answer_that_breaks_the_reader_stops_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(camera(1), camera(2))
    rig.check.faults["camera-1"] = RecursionError("x")
    async with rig.running():
        await rig.clock.advance(5 * INTERVAL_S)
        assert rig.listener.shows("camera-1", "offline", "protocol_error")
        assert rig.listener.shows("camera-2", "online")
    assert rig.metrics.errors["check", "RecursionError"] >= 2
    told = [one for one in caplog.records if "broke" in one.message]
    assert [one.levelno for one in told].count(logging.WARNING) == 1


async def test_our_own_want_of_sockets_is_no_device_s_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(camera())
    rig.check.faults["camera-1"] = OSError(errno.EMFILE, "Too many open files")
    async with rig.running():
        await rig.clock.advance(3 * INTERVAL_S)
        assert not rig.listener.reports
        del rig.check.faults["camera-1"]
        await rig.clock.advance(INTERVAL_S)
        assert rig.listener.shows("camera-1", "online")
    assert rig.metrics.errors["check", "own"] >= 2


async def test_a_full_journal_stops_no_watching() -> None:
    rig = Rig(camera())
    rig.listener.full = True
    async with rig.running():
        await rig.clock.advance(2 * INTERVAL_S)
        assert rig.metrics.errors["check", "journal"] == 2
        rig.listener.full = False
        await rig.clock.advance(INTERVAL_S)
        assert rig.listener.shows("camera-1", "online")


async def test_changes_of_state_are_logged_and_states_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig(camera())
    async with rig.running():
        await rig.clock.advance(5 * INTERVAL_S)
        rig.check.faults["camera-1"] = refused()
        await rig.clock.advance(30 * INTERVAL_S)
    told = [one.message for one in caplog.records if "device=camera-1" in one.message]
    assert len(told) == 2
    assert "state=offline reason=refused" in told[1]
