"""`python -m simulators`: a whole district, or one device by hand.

Where it listens is one line of JSON on standard output; what people read goes to standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from simulators import broker
from simulators.camera import PASSWORD, SimulatedCamera, parse_fault
from simulators.district import Control, District, Kind, Scenario, actions, draw, files
from simulators.district.district import MQTT_KINDS, USERNAME
from simulators.lifetime import run_until_told
from simulators.mqtt import Dialect
from simulators.opscenter import OperationsCenter

Arguments = argparse.Namespace


def main() -> int:
    """Returns the exit code: 0 done, 1 it could not start, 2 wrong usage."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(
            run_until_told(arguments.command(arguments), child=arguments.until_stdin_closes)
        )
    except (OSError, RuntimeError, ValueError) as error:
        print(f"simulators: {error or type(error).__name__}", file=sys.stderr)
        return 1
    return 0


# --- the commands: each runs until it is cancelled or done ---------------------------------------


async def _district(arguments: Arguments) -> None:
    with ExitStack() as stack:
        folder: Path = arguments.dir or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="kuzet-district-"))
        )
        district = District(
            draw(arguments.sites, arguments.seed),
            secret=files.signing_secret(folder),
            broker=arguments.broker,
        )
        scenario = Scenario(district, seed=arguments.seed, tell=_tell)
        if not arguments.quiet:
            scenario.begin()
        host, port = arguments.listen_control
        async with district, Control(district, scenario, host=host, port=port) as control:
            files.write(folder, district, console=arguments.console)
            _ready(
                broker=district.broker_url,
                opscenter=district.center.page_url,
                control=control.url,
                dir=str(folder),
                devices=len(district.devices),
            )
            await scenario.run()


async def _camera(arguments: Arguments) -> None:
    host, port = arguments.listen
    camera = SimulatedCamera(
        host=host,
        onvif_port=port,
        rtsp_port=arguments.rtsp_port,
        username=arguments.user or None,
        password=arguments.password,
    )
    async with camera:
        for fault, seconds in arguments.fault:
            await camera.fail(fault, seconds)
        _ready(onvif=camera.onvif_url, rtsp=camera.rtsp_url)
        await _for_ever()


async def _mqtt(arguments: Arguments) -> None:
    device = MQTT_KINDS[arguments.kind](
        broker=arguments.broker,
        site_id=arguments.site,
        device_id=arguments.device,
        dialect=arguments.dialect,
    )
    async with device:
        if arguments.action:
            needs_card = arguments.action in ("pass", "deny")
            given = {"credential": arguments.credential} if needs_card else {}
            await actions.act(device, arguments.kind, arguments.action, given)
            return
        _ready(device=device.device_id)
        await _for_ever()


async def _opscenter(arguments: Arguments) -> None:
    host, port = arguments.listen
    secret = arguments.secret_file.read_text().strip() if arguments.secret_file else ""
    async with OperationsCenter(secret=secret, host=host, port=port) as center:
        _ready(opscenter=center.url, page=center.page_url)
        await _for_ever()


async def _broker(arguments: Arguments) -> None:
    await broker.serve(*arguments.listen)


async def _for_ever() -> None:
    await asyncio.Event().wait()


def _ready(**where: object) -> None:
    print(json.dumps({"ready": True, **where}, ensure_ascii=False), flush=True)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- the command line ----------------------------------------------------------------------------


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: write host:port, 127.0.0.1:0 for any port")
    return host, int(port)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--until-stdin-closes",
        action="store_true",
        default=argparse.SUPPRESS,
        help="a parent process holds standard input: end when it does, and leave Ctrl-C to it",
    )
    parser = argparse.ArgumentParser(prog="python -m simulators", description=__doc__)
    parser.set_defaults(command=_district, until_stdin_closes=False)
    _district_arguments(parser)
    commands = parser.add_subparsers(title="one device by hand", metavar="DEVICE")

    camera = commands.add_parser("camera", parents=[common], help="an ONVIF and RTSP camera")
    camera.set_defaults(command=_camera)
    _listen(camera)
    camera.add_argument("--rtsp-port", type=int, default=0)
    camera.add_argument("--user", default=USERNAME, help="empty: it asks nobody for a password")
    camera.add_argument("--password", default=PASSWORD)
    camera.add_argument(
        "--fault",
        action="append",
        default=[],
        type=parse_fault,
        help="down, silent, wrong_password, locked, skew=1h, no_rtsp, stream_404, …",
    )
    for name, kind in (
        ("button", Kind.PANIC_BUTTON),
        ("turnstile", Kind.TURNSTILE),
        ("intercom", Kind.INTERCOM),
    ):
        _mqtt_arguments(commands.add_parser(name, parents=[common], help=f"a {name}"), kind)

    center = commands.add_parser("opscenter", parents=[common], help="an operations center")
    center.set_defaults(command=_opscenter)
    _listen(center)
    center.add_argument("--secret-file", type=Path, help="whsec_…; signatures unchecked without")

    demo_broker = commands.add_parser("broker", parents=[common], help="the demo's MQTT broker")
    demo_broker.set_defaults(command=_broker)
    _listen(demo_broker)
    return parser


def _district_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sites", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1, help="another number, another district")
    parser.add_argument("--dir", type=Path, help="where the gateway's files go")
    parser.add_argument("--broker", default="", metavar="URL", help="mqtt://…: a real one")
    parser.add_argument("--listen-control", type=_address, default=("127.0.0.1", 0))
    parser.add_argument("--console", default="127.0.0.1:8080", help="for the gateway's settings")
    parser.add_argument("--quiet", action="store_true", help="no script, until POST /scenario")
    parser.add_argument("--until-stdin-closes", action="store_true")


def _mqtt_arguments(parser: argparse.ArgumentParser, kind: Kind) -> None:
    parser.set_defaults(command=_mqtt, kind=kind, action="")
    parser.add_argument("--broker", required=True, metavar="URL")
    parser.add_argument("--site", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--dialect", type=Dialect, choices=tuple(Dialect), default=Dialect.NATIVE)
    once = parser.add_argument_group("do this once and end")
    for action in actions.ACTIONS[kind]:
        flag = f"--{action.replace('_', '-')}"
        once.add_argument(flag, dest="action", action="store_const", const=action, default="")
    if kind is Kind.TURNSTILE:
        parser.add_argument("--credential", default="0000000000", help="a card's number")


def _listen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT")


if __name__ == "__main__":
    sys.exit(main())
