"""Digest answers: of the specification, of recorded servers, and of hostile ones."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.digest import Challenge, answer, challenges, strongest
from gateway.model import Credentials
from tests.peers import real_data

MUFASA = Credentials(username="Mufasa", password="Circle of Life")
# RFC 7616 section 3.9.1
RFC_7616 = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


def parameters(authorization: str) -> dict[str, str]:
    scheme, _, rest = authorization.partition(" ")
    assert scheme == "Digest"
    return {name: value.strip('"') for name, value in re.findall(r'(\w+)=("[^"]*"|[^,]+)', rest)}


def answered(headers: list[str], credentials: Credentials, method: str, uri: str) -> dict[str, str]:
    challenge = strongest(challenges(headers))
    assert challenge is not None
    return parameters(answer(challenge, credentials, method=method, uri=uri))


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_specification_s_own_examples(algorithm: str, response: str) -> None:
    challenge = strongest(challenges([RFC_7616.format(algorithm=algorithm)]))
    assert challenge is not None
    given_back = parameters(
        answer(
            challenge,
            MUFASA,
            method="GET",
            uri="/dir/index.html",
            cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        )
    )
    assert given_back["response"] == response
    assert given_back["qop"] == "auth"
    assert given_back["nc"] == "00000001"
    assert given_back["algorithm"] == algorithm


def test_of_two_challenges_the_stronger_is_answered_wherever_it_stands() -> None:
    both = [RFC_7616.format(algorithm="MD5"), RFC_7616.format(algorithm="SHA-256")]
    for headers in (both, both[::-1], [", ".join(both)], ["Basic realm=x", *both]):
        challenge = strongest(challenges(headers))
        assert challenge is not None
        assert challenge.algorithm == "SHA-256"


def test_an_answer_carries_only_what_the_challenge_had() -> None:
    """onvif-quirks: TP-Link refuses an unasked `algorithm`."""
    plain = answered(['Digest realm="r", nonce="n"'], MUFASA, "POST", "/onvif")
    assert set(plain) == {"username", "realm", "nonce", "uri", "response"}
    full = answered([RFC_7616.format(algorithm="MD5")], MUFASA, "POST", "/onvif")
    assert set(full) - set(plain) == {"qop", "nc", "cnonce", "opaque", "algorithm"}


@pytest.mark.parametrize(
    "header",
    [
        'Basic realm="r"',
        'Digest realm="r"',
        'Digest realm="r", nonce=""',
        'Digest realm="r", nonce="n", algorithm=TOKEN-9',
        'Digest realm="r", nonce="n", qop="auth-int"',
        "",
    ],
)
def test_what_cannot_be_answered_is_not(header: str) -> None:
    assert strongest(challenges([header])) is None


def test_quotes_and_backslashes_survive_the_way_there_and_back() -> None:
    challenge = strongest(challenges([r'Digest realm="a \"b\" \\ c", nonce="n"']))
    assert challenge is not None
    assert challenge.parameters["realm"] == 'a "b" \\ c'
    authorization = answer(challenge, MUFASA, method="GET", uri="/")
    assert r'realm="a \"b\" \\ c"' in authorization


def test_a_stale_nonce_is_told_from_a_wrong_secret() -> None:
    assert Challenge(scheme="digest", parameters={"stale": "TRUE"}).stale
    assert not Challenge(scheme="digest", parameters={"stale": "FALSE"}).stale
    assert not Challenge(scheme="digest").stale


@settings(deadline=None)
@given(st.lists(st.text(max_size=200), max_size=3))
def test_no_header_makes_the_reader_fail(headers: list[str]) -> None:
    for challenge in challenges(headers):
        assert challenge.scheme == challenge.scheme.lower()


@pytest.mark.parametrize(
    "hostile", ["a " * 40_000, " " * 80_000, "a" * 80_000 + "(", '="' * 40_000]
)
def test_a_hostile_header_is_read_no_further_than_4_kb(hostile: str) -> None:
    assert len(challenges([hostile])) <= 4096


# --- recorded ------------------------------------------------------------------------------------


def gortsplib(section: str) -> list[Any]:
    file = real_data() / "rtsp" / "gortsplib" / "auth_cases.json"
    cases: dict[str, list[Any]] = json.loads(file.read_text())
    return cases[section]


def test_recorded_challenges_of_gortsplib_get_the_recorded_answers() -> None:
    compared = 0
    for case in gortsplib("sender(www-authenticate -> authorization)"):
        challenge_headers, (expected, *_) = case["groups"]
        if expected.startswith("Basic"):
            assert strongest(challenges(challenge_headers)) is None
            continue
        credentials = Credentials(username="myuser", password="mypass")
        uri = "rtsp://myhost/mypath?key=val/trackID=3"
        assert answered(challenge_headers, credentials, "SETUP", uri) == parameters(expected), case
        compared += 1
    assert compared == 5


def test_recorded_answers_of_other_clients_are_ours() -> None:
    """VLC, Happytime and Bosch BVMS, as gortsplib accepts them."""
    for case in gortsplib("verify(authorization accepted)"):
        (recorded, *_) = case["groups"][0]
        if recorded.startswith("Basic"):
            continue
        theirs = parameters(recorded)
        challenge = Challenge(
            scheme="digest",
            parameters={
                name: theirs[name] for name in ("realm", "nonce", "algorithm") if name in theirs
            },
        )
        credentials = Credentials(username="myuser", password="mypass")
        ours = answer(challenge, credentials, method="SETUP", uri=theirs["uri"])
        assert parameters(ours)["response"] == theirs["response"], case["name"]


def test_recorded_digests_of_axis_and_genetec() -> None:
    file = real_data() / "rtsp" / "aiortsp" / "digest_and_basic_cases.json"
    cases = json.loads(file.read_text())["digest"]
    for case in cases:
        # The recording answers Genetec's `qop` in the older form that has none.
        given_by_server = {name: case["challenge"][name] for name in ("realm", "nonce")}
        ours = answer(
            Challenge(scheme="digest", parameters=given_by_server),
            Credentials(username=case["user"], password=case["password"]),
            method=case["method"],
            uri=case["uri"],
        )
        assert parameters(ours)["response"] == case["expect_response"]
    assert len(cases) == 2


def test_recorded_challenges_are_read() -> None:
    file = real_data() / "rtsp" / "gortsplib" / "header_cases.json"
    cases = json.loads(file.read_text())["authenticate"]
    for case in cases:
        (challenge,) = challenges(case["header_values"])
        for name, value in re.findall(
            r'(Realm|Nonce|Opaque):\s+(?:new\()?"([^"]*)"', case["go_rest"]
        ):
            assert challenge.parameters[name.lower()] == value, case["name"]
    assert len(cases) == 7
