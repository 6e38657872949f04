"""The camera emulator ipycam on the loopback; run by the interpreter that has it.

    python ipycam_server.py ONVIF_PORT RTSP_PORT [USER PASSWORD]

Prints "ready" once it listens; it shows a grey picture. Ends with its standard input. It is started
as its own command line starts it, but on the loopback only, and without discovery.
"""

# mypy: ignore-errors
# It runs in another environment than the one that is checked.

import sys
import threading

import ipycam.camera
import numpy
from ipycam import CameraConfig, IPCamera


class NoDiscovery:
    """ipycam would announce itself on every network of this machine."""

    def __init__(self, _: object) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class OnLoopback(ipycam.camera.ReusableThreadingTCPServer):
    def __init__(self, address: tuple[str, int], handler: object) -> None:
        super().__init__(("127.0.0.1", address[1]), handler)


def rtsp_on_loopback(*, port: int) -> object:
    return real_rtsp(port=port, host="127.0.0.1")


real_rtsp = ipycam.camera.NativeRTSPServer
ipycam.camera.NativeRTSPServer = rtsp_on_loopback
ipycam.camera.ReusableThreadingTCPServer = OnLoopback
ipycam.camera.WSDiscoveryServer = NoDiscovery


def main() -> None:
    onvif_port, rtsp_port, *secret = sys.argv[1:]
    config = CameraConfig(
        # It names an address of another network: as cameras behind a translated one do.
        local_ip="192.0.2.44",
        onvif_port=int(onvif_port),
        rtsp_port=int(rtsp_port),
        go2rtc_api_port=1,
        main_width=160,
        main_height=120,
        main_fps=5,
        sub_width=80,
        sub_height=60,
        hw_accel="cpu",
    )
    if secret:
        config.username, config.password = secret
    camera = IPCamera(config)
    if not camera.start():
        sys.exit("ipycam does not start")
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    print("ready", flush=True)
    picture = numpy.full((120, 160, 3), 128, dtype=numpy.uint8)
    while not ended.wait(0.2):
        camera.stream(picture)
    camera.stop()


main()
