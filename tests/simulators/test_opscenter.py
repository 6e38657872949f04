"""The simulated operations center: what it takes, what it refuses, how it fails when told to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import aiohttp
import pytest

from simulators.opscenter import Manner, OperationsCenter, Refusal, new_secret

SECRET = new_secret()
BATCH = "application/cloudevents-batch+json"
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "a1",
    "source": "/kuzet/zhambyl/school-1/button-1",
    "type": "kz.kuzet.alarm.raised",
    "lane": "alarm",
    "data": {"condition": "panic"},
}


class Reply(NamedTuple):
    status: int
    text: str
    retry_after: str | None


class Sender:
    """Signs as the Standard Webhooks specification says, by hand."""

    def __init__(self, center: OperationsCenter, session: aiohttp.ClientSession) -> None:
        self._center = center
        self._session = session

    async def send(
        self,
        *events: dict[str, Any],
        secret: str = SECRET,
        age_s: int = 0,
        content_type: str = BATCH,
        body: bytes | None = None,
        more_signatures: str = "",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Reply:
        content = json.dumps(events).encode() if body is None else body
        stamp = str(int(time.time()) - age_s)
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = hmac.new(key, b"msg_1." + stamp.encode() + b"." + content, hashlib.sha256)
        own_signature = base64.b64encode(signed.digest()).decode()
        own = {
            "webhook-id": "msg_1",
            "webhook-timestamp": stamp,
            "webhook-signature": f"{more_signatures} v1,{own_signature}".strip(),
            "Content-Type": content_type,
        }
        async with self._session.post(
            self._center.url, data=content, headers={**own, **headers}
        ) as response:
            return Reply(
                response.status, await response.text(), response.headers.get("Retry-After")
            )


@pytest.fixture
async def center() -> AsyncIterator[OperationsCenter]:
    async with OperationsCenter(secret=SECRET) as running:
        yield running


@pytest.fixture
async def sender(center: OperationsCenter) -> AsyncIterator[Sender]:
    patience = aiohttp.ClientTimeout(total=0.5)
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(timeout=patience, connector=connector) as session:
        yield Sender(center, session)


async def test_a_signed_batch_is_kept_and_a_repeat_counted(
    center: OperationsCenter, sender: Sender
) -> None:
    assert (await sender.send(EVENT, EVENT | {"id": "a2"})).status == 202
    assert (await sender.send(EVENT)).status == 202
    received = await center.wait_for(lambda event: event["id"] == "a2")
    assert (received.number, received.webhook_id) == (2, "msg_1")
    assert [event["id"] for event in center.events("kz.kuzet.alarm")] == ["a1", "a2"]
    assert center.events("kz.kuzet.alar") == []
    assert (center.duplicates, center.conflicts) == (1, 0)
    await sender.send(EVENT | {"data": {}})
    assert center.conflicts == 1


@pytest.mark.parametrize(
    ("how", "refusal", "status"),
    [
        ({"secret": new_secret()}, Refusal.SIGNATURE, 401),
        ({"age_s": 400}, Refusal.TIMESTAMP, 401),
        ({"age_s": -400}, Refusal.TIMESTAMP, 401),
        ({"content_type": "application/json"}, Refusal.CONTENT_TYPE, 415),
        ({"body": b"{"}, Refusal.MALFORMED, 400),
        ({"body": b'[{"id": "1", "source": "/", "type": "t"}]'}, Refusal.MALFORMED, 400),
    ],
)
async def test_what_is_not_genuine_is_refused(
    center: OperationsCenter, sender: Sender, how: dict[str, Any], refusal: Refusal, status: int
) -> None:
    assert (await sender.send(EVENT, **how)).status == status
    assert center.refused == {refusal: 1}
    assert not center.received


async def test_an_unsigned_request_is_refused(center: OperationsCenter) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(center.url, json=[EVENT], headers={"Content-Type": BATCH}) as response,
    ):
        assert response.status == 401


async def test_any_of_several_signatures_is_enough(sender: Sender) -> None:
    others = "v1,AAAA v1a,BBBB"
    assert (await sender.send(EVENT, more_signatures=others)).status == 202
    assert (await sender.send(EVENT, headers={"webhook-signature": others})).status == 401


async def test_a_batch_of_two_lanes_is_refused(center: OperationsCenter, sender: Sender) -> None:
    assert (await sender.send(EVENT, EVENT | {"id": "b", "lane": "telemetry"})).status == 400
    assert center.refused[Refusal.MIXED_LANES] == 1


async def test_the_token_is_asked_for_where_one_is_set() -> None:
    async with (
        OperationsCenter(secret=SECRET, token="t0ken") as center,
        aiohttp.ClientSession() as session,
    ):
        sender = Sender(center, session)
        assert (await sender.send(EVENT)).status == 401
        assert (await sender.send(EVENT, headers={"Authorization": "Bearer t0ken"})).status == 202


async def test_it_answers_what_it_was_told_as_often_as_it_was_told(
    center: OperationsCenter, sender: Sender
) -> None:
    center.answer(429, lane="alarm", times=2, retry_after=7)
    telemetry = EVENT | {"id": "t", "lane": "telemetry", "type": "kz.kuzet.event.door.opened"}
    assert await sender.send(EVENT) == Reply(429, "", "7")
    assert (await sender.send(telemetry)).status == 202
    assert (await sender.send(EVENT)).status == 429
    assert (await sender.send(EVENT)).status == 202
    assert [attempt.status for attempt in center.attempts] == [429, 202, 429, 202]
    center.answer(500)
    assert {(await sender.send(EVENT)).status for _ in range(3)} == {500}
    center.recover()
    assert (await sender.send(EVENT)).status == 202


@pytest.mark.parametrize("manner", [Manner.CLOSE, Manner.HANG])
async def test_no_answer_keeps_nothing(
    center: OperationsCenter, sender: Sender, manner: Manner
) -> None:
    center.answer(manner=manner, times=1)
    with pytest.raises((aiohttp.ClientError, TimeoutError)):
        await sender.send(EVENT)
    assert not center.received
    assert (await sender.send(EVENT)).status == 202


async def test_a_torn_answer_keeps_the_events(center: OperationsCenter, sender: Sender) -> None:
    center.answer(manner=Manner.TORN, times=1)
    with pytest.raises(aiohttp.ClientError):
        await sender.send(EVENT)
    assert len(center.received) == 1
    await sender.send(EVENT)
    assert center.duplicates == 1


async def test_a_captive_portal_answers_200_and_keeps_nothing(
    center: OperationsCenter, sender: Sender
) -> None:
    center.answer(manner=Manner.HTML, times=1)
    reply = await sender.send(EVENT)
    assert reply.status == 200
    assert "<form>" in reply.text
    assert not center.received


async def test_down_refuses_connections_and_comes_back_on_the_same_port(
    center: OperationsCenter, sender: Sender
) -> None:
    await center.go_down()
    with pytest.raises(aiohttp.ClientConnectorError):
        await sender.send(EVENT)
    await center.come_back()
    assert (await sender.send(EVENT)).status == 202


async def test_the_list_and_the_page_show_what_came(
    center: OperationsCenter, sender: Sender
) -> None:
    await sender.send(EVENT, EVENT | {"id": "<script>", "subject": "<script>"})
    async with aiohttp.ClientSession() as session:
        address = f"{center.page_url}_received"
        async with session.get(address, params={"type": EVENT["type"], "after": 1}) as response:
            listing = await response.json()
        assert [item["event"]["id"] for item in listing["items"]] == ["<script>"]
        assert listing["next"] == 2
        async with session.get(center.page_url) as response:
            page = await response.text()
        assert "panic" in page
        assert "<script>" not in page
