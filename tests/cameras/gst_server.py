"""GStreamer's own RTSP server on the loopback; run by the system's Python, which has its bindings.

    /usr/bin/python3 gst_server.py [USER PASSWORD]

Prints its port once it listens. Serves `/live` (H.264) and `/jpeg` (MJPEG) of a test picture; with
a user it asks for a digest. Ends with its standard input.
"""

# mypy: ignore-errors
# It runs in another environment than the one that is checked.

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 -- the versions come first

SOURCE = "videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120,framerate=5/1 ! "
STREAMS = {
    "/live": SOURCE + "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=5"
    " ! rtph264pay name=pay0 pt=96",
    "/jpeg": SOURCE + "jpegenc ! rtpjpegpay name=pay0 pt=26",
}


def main() -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    authentication = None
    if len(sys.argv) > 1:
        user, password = sys.argv[1:3]
        authentication = GstRtspServer.RTSPAuth()
        authentication.set_supported_methods(2)  # GST_RTSP_AUTH_DIGEST
        viewer = GstRtspServer.RTSPToken()
        viewer.set_string("media.factory.role", "viewer")
        authentication.add_digest(user, password, viewer)
        server.set_auth(authentication)
    for path, launch in STREAMS.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {launch} )")
        factory.set_shared(True)
        if authentication is not None:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_permission_for_role("viewer", "media.factory.access", True)
            permissions.add_permission_for_role("viewer", "media.factory.construct", True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    if server.attach(None) == 0:
        sys.exit("cannot listen")
    print(server.get_bound_port(), flush=True)
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    loop.run()


main()
