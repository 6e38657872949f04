"""What can be done to each kind of device by hand: one table for the control API and the script."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from simulators.camera import SimulatedCamera, Topic, parse_fault
from simulators.district.district import Device
from simulators.district.plan import Kind
from simulators.mqtt import Intercom, MqttFault, PanicButton, Turnstile

Action = Callable[..., Awaitable[object]]


class NoSuchAction(LookupError):
    """This kind of device has no such action."""


async def _tell(camera: SimulatedCamera, active: bool = True, *, topic: Topic) -> None:
    camera.tell(topic, active)


ACTIONS: Mapping[Kind, Mapping[str, Action]] = {
    Kind.CAMERA: {
        "motion": partial(_tell, topic=Topic.MOTION),
        "tamper": partial(_tell, topic=Topic.TAMPER),
        "signal_loss": partial(_tell, topic=Topic.SIGNAL_LOSS),
        "input": partial(_tell, topic=Topic.DIGITAL_INPUT),
        "storage_failure": partial(_tell, topic=Topic.STORAGE_FAILURE),
    },
    Kind.PANIC_BUTTON: {
        "press": PanicButton.press,
        "release": PanicButton.release,
        "open_case": PanicButton.open_case,
        "close_case": PanicButton.close_case,
    },
    Kind.TURNSTILE: {
        "pass": Turnstile.let_pass,
        "deny": Turnstile.deny,
        "force": Turnstile.force,
    },
    Kind.INTERCOM: {
        "call": Intercom.call,
        "answer": Intercom.answer,
        "unlock": Intercom.unlock,
        "open_door": Intercom.open_door,
        "close_door": Intercom.close_door,
        "force_door": Intercom.force_door,
    },
}
"""Each with the device's method, whose arguments are the action's."""


async def act(device: Device, kind: Kind, action: str, arguments: Mapping[str, Any]) -> object:
    """Returns what the device said, if it said something. Raises NoSuchAction, NoPower, NotSaid,
    and ValueError for arguments that make no sense."""
    method = ACTIONS[kind].get(action)
    if method is None:
        raise NoSuchAction(f"a {kind} can: {', '.join(ACTIONS[kind])}")
    try:
        inspect.signature(method).bind(device, **arguments)
    except TypeError as error:
        raise ValueError(f"{action}: {error}") from None
    return await method(device, **arguments)


async def fail(device: Device, fault: str) -> None:
    """`down`, `skew=1h`, `unplugged`, … Raises ValueError for a fault that the device cannot have,
    NoPower for one that needs its voice."""
    if isinstance(device, SimulatedCamera):
        await device.fail(*parse_fault(fault))
    else:
        await device.fail(_mqtt_fault(fault))


async def recover(device: Device, fault: str | None = None) -> None:
    """Free of that fault, or of all. Raises as `fail`."""
    if isinstance(device, SimulatedCamera):
        await device.recover(parse_fault(fault)[0] if fault else None)
    else:
        await device.recover(_mqtt_fault(fault) if fault else None)


def _mqtt_fault(name: str) -> MqttFault:
    try:
        return MqttFault(name)
    except ValueError:
        known = ", ".join(MqttFault)
        raise ValueError(f"no such fault: {name!r}; there are: {known}") from None
