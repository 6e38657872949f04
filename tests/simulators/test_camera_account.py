"""What proves a camera's user: nonces used once, clocks, tries that count and tries that do not."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest

from simulators.camera import Scheme
from simulators.camera.account import Account, UsernameToken, Verdict

SECRET = "secret"
NOW = datetime(2026, 10, 5, 8, 0, tzinfo=UTC)


def _account() -> Account:
    return Account("admin", SECRET, schemes=tuple(Scheme), locks_after=3, locked_for_s=60)


def _token(
    *, password: str = SECRET, created: datetime = NOW, nonce: bytes = b"once"
) -> UsernameToken:
    """UsernameToken Profile 1.0: Base64(SHA-1(nonce + created + password))."""
    stamp = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha1(nonce + stamp.encode() + password.encode()).digest()  # noqa: S324
    return UsernameToken(
        username="admin",
        password=base64.b64encode(digest).decode(),
        digested=True,
        nonce=base64.b64encode(nonce).decode(),
        created=stamp,
    )


def test_a_nonce_is_good_once() -> None:
    account = _account()
    assert account.judge_token(_token(), NOW) is Verdict.GRANTED
    assert account.judge_token(_token(), NOW) is Verdict.REFUSED
    assert account.judge_token(_token(nonce=b"twice"), NOW) is Verdict.GRANTED


@pytest.mark.parametrize("wrong_by_s", [-40, 40])
def test_created_far_from_the_cameras_clock_counts_as_a_wrong_try(wrong_by_s: int) -> None:
    account = _account()
    created = NOW + timedelta(seconds=wrong_by_s)
    assert account.judge_token(_token(created=created), NOW) is Verdict.REFUSED
    assert account.wrong_tries == 1


def test_a_right_try_ends_the_row_of_wrong_ones() -> None:
    account = _account()
    verdicts = [
        account.judge_token(_token(password=password, nonce=bytes((n,))), NOW)
        for n, password in enumerate(["x", "x", SECRET, "x", "x", "x", SECRET])
    ]
    assert verdicts[2] is Verdict.GRANTED
    assert verdicts[5] is Verdict.REFUSED
    assert verdicts[6] is Verdict.LOCKED
    assert account.wrong_tries == 5
    account.unlock()
    assert account.judge_token(_token(nonce=b"later"), NOW) is Verdict.GRANTED


def test_a_nonce_that_it_did_not_give_is_stale_and_no_wrong_try() -> None:
    account = _account()
    assert account.judge_digest(_digest(SECRET, "0" * 32), "GET") is Verdict.STALE
    assert account.wrong_tries == 0
    (given,) = {
        nonce
        for challenge in account.challenges(qop=False)
        for nonce in re.findall(r'nonce="([^"]+)"', challenge)
    }
    assert account.judge_digest(_digest(SECRET, given), "GET") is Verdict.GRANTED
    assert account.judge_digest(_digest("guess", given), "GET") is Verdict.REFUSED


def test_basic_is_no_proof() -> None:
    assert _account().judge_digest("Basic YWRtaW46c2VjcmV0", "GET") is Verdict.NO_CREDENTIALS
    assert _account().judge_digest(None, "GET") is Verdict.NO_CREDENTIALS


def _digest(password: str, nonce: str) -> str:
    """RFC 2069, by hand."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()  # noqa: S324

    ha1 = md5(f"admin:{Account.REALM}:{password}")
    response = md5(f"{ha1}:{nonce}:{md5('GET:/')}")
    return (
        f'Digest username="admin", realm="{Account.REALM}", nonce="{nonce}", uri="/", '
        f'response="{response}"'
    )
