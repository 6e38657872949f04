"""The peer: a gateway that only passes on. `python -m benchmarks.pass_on BROKER_PORT CENTER_URL`.

It acknowledges on receipt, keeps nothing, signs nothing and tries nothing again: what is left is
the cost of paho-mqtt and aiohttp, which no gateway built on them can go below.
"""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

BATCH = 500


async def pass_on(port: int, url: str) -> None:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[bytes | bytearray] = asyncio.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "pass-on", protocol=mqtt.MQTTv5)

    def on_connect(client: mqtt.Client, *_: object) -> None:
        client.subscribe("kuzet/+/+/event", qos=1)
        loop.call_soon_threadsafe(lambda: print("ready", flush=True))

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        loop.call_soon_threadsafe(waiting.put_nowait, message.payload)

    client.on_connect = on_connect
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_start()
    async with aiohttp.ClientSession() as http:
        while True:
            batch = [await waiting.get()]
            while len(batch) < BATCH and not waiting.empty():
                batch.append(waiting.get_nowait())
            events = []
            for payload in batch:
                said = json.loads(payload)
                kind = "kz.kuzet.event." + said["type"]
                events.append({"id": said["id"], "type": kind, "data": {"attributes": said}})
            async with http.post(url, json=events) as answer:
                await answer.read()


if __name__ == "__main__":
    asyncio.run(pass_on(int(sys.argv[1]), sys.argv[2]))
