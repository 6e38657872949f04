"""Signatures after Standard Webhooks."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.forward.webhooks import message_id, signed
from simulators.opscenter import new_secret
from simulators.opscenter.signature import check, key_of

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def test_the_specifications_own_example() -> None:
    """https://github.com/standard-webhooks/standard-webhooks, the reference libraries' vector."""
    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        keys=[key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
        at=datetime.fromtimestamp(1614265330, UTC),
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_while_keys_rotate_both_the_old_and_the_new_one_verify() -> None:
    old, new = new_secret(), new_secret()
    headers = signed("id", b"[]", keys=[key_of(new), key_of(old)], at=NOW)
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (old, new):
        assert check(headers, b"[]", key=key_of(secret), now=NOW.timestamp()) == "id"


def test_the_message_id_belongs_to_the_records_and_to_nothing_else() -> None:
    assert message_id(["a", "b"]) == message_id(["a", "b"])
    assert len({message_id(["a", "b"]), message_id(["a"]), message_id(["b"])}) == 3
