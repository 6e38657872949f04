"""Promise 1, watched from below: the WAL is synced before the PUBACK is written.

Killing processes proves nothing here: the kernel keeps what was written, synced or not. So the
system calls are traced, and read in their order.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.center import Center
from tests.peers import require, until
from tests.rig import Kuzet, Mosquitto, Publisher, press

PRESSES = 10

RECEIVE = ("read", "recvfrom", "recvmsg")
SEND = ("write", "writev", "sendto", "sendmsg")
SYNC = ("fsync", "fdatasync")

CALL = re.compile(r"^(?P<pid>\d+) +(?:<\.\.\. )?(?P<name>\w+)(?P<rest>.*)$")
PUBACK = re.compile(r'"@\\2(\\\d|\\[a-z]|.)')


def events_of(trace: str, broker_port: int) -> list[str]:
    """The trace as a list of `publish <n>`, `sync` and `puback`, in the order of completion.

    A call of one thread that is interrupted by another's line is counted where it is resumed.
    """
    found = []
    pending: dict[str, str] = {}
    for line in trace.splitlines():
        match = CALL.match(line)
        if match is None:
            continue
        pid, name, rest = match["pid"], match["name"], match["rest"]
        if "<unfinished ...>" in rest:
            pending[pid] = rest
            # A PUBACK leaves when its call begins: counted early, which is the strict side.
            if name in SEND and f":{broker_port}]>" in rest and PUBACK.search(rest):
                found.append("puback")
            continue
        resumed = " resumed>" in rest
        whole = pending.pop(pid, "") + rest if resumed else rest
        if name in SYNC and "journal-alarm" in whole and "= 0" in rest:
            found.append("sync")
        elif name in RECEIVE and (press_id := re.search(r"press-(\d+)-end", whole)):
            found.append(f"publish {press_id[1]}")
        elif name in SEND and not resumed and f":{broker_port}]>" in whole and PUBACK.search(whole):
            found.append("puback")
    return found


async def test_the_wal_is_synced_before_each_puback(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    strace = [require("strace"), "-f", "-yy", "-s", "200", "-o", str(trace)]
    strace += ["-e", f"trace={','.join((*RECEIVE, *SEND, *SYNC))}"]
    async with Center() as center, Mosquitto(tmp_path / "broker") as broker:
        kuzet = Kuzet(tmp_path / "kuzet", broker=broker.url, center=center.url)
        await kuzet.start(wrapper=strace)
        async with Publisher(broker.port, "buttons") as publisher:
            for number in range(PRESSES):
                ident = f"press-{number}-end"
                await publisher.send("kuzet/school-1/button-0/event", press(ident), ident)
                await until(lambda ident=ident: ident in center.presses, 20)  # type: ignore[misc]
        await kuzet.stop(30)
    seen = events_of(trace.read_text(errors="replace"), broker.port)
    for number in range(PRESSES):
        begin = seen.index(f"publish {number}")
        after = seen[begin:]
        assert "puback" in after, f"press {number} was never acknowledged"
        assert "sync" in after[: after.index("puback")], f"press {number}: {after[:6]}"
