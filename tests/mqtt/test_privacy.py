"""No person is written down: cards and names become pseudonyms before anything else."""

from __future__ import annotations

import json

import pytest

from adapters.mqtt.privacy import Pseudonyms
from gateway.model import EventType
from tests.mqtt.neighbours import KEY

PASSED = EventType.ACCESS_PASSED
PSEUDONYMS = Pseudonyms(KEY)


@pytest.mark.parametrize(
    "key", ["credential", "card", "Card_Number", "cardNo", "UID", "card-id", "rfid", "user_id"]
)
def test_a_card_becomes_a_pseudonym_whatever_its_key(key: str) -> None:
    cleansed = PSEUDONYMS.cleanse(PASSED, {"direction": "in", key: "04A2B3C4D5"})
    assert cleansed.keys() == {"direction", "credential"}
    assert len(cleansed["credential"]) == 16
    assert cleansed == PSEUDONYMS.cleanse(PASSED, {"direction": "in", "card": "04A2B3C4D5"})


def test_one_card_is_one_pseudonym_however_it_is_written() -> None:
    forms = (4711, "4711", " 4711 ")
    assert len({PSEUDONYMS.cleanse(PASSED, {"card": form})["credential"] for form in forms}) == 1
    assert PSEUDONYMS.cleanse(PASSED, {"card": "04a2"}) == PSEUDONYMS.cleanse(
        PASSED, {"card": "04A2"}
    )


def test_the_card_is_the_person_before_the_name_is() -> None:
    by_card = PSEUDONYMS.cleanse(PASSED, {"card": "17"})
    assert PSEUDONYMS.cleanse(PASSED, {"name": "Aigerim", "card": "17", "pin": "1234"}) == by_card
    by_name = PSEUDONYMS.cleanse(PASSED, {"full_name": "Aigerim"})
    assert by_name["credential"] != by_card["credential"]


def test_nothing_of_a_person_is_left_however_deep() -> None:
    attributes = {
        "reader": {"id": 3, "cardholder": {"name": "Aigerim", "phone": "+7700"}},
        "log": [{"card": "secret-17", "at": 1}, "plain"],
        "photo": "secret",
        "reason": "unknown card",
    }
    cleansed = PSEUDONYMS.cleanse(EventType.ACCESS_DENIED, attributes)
    text = json.dumps(cleansed)
    for secret in ("Aigerim", "+7700", "secret"):
        assert secret not in text
    assert cleansed["reader"] == {"id": 3}
    assert cleansed["log"] == [{"at": 1}, "plain"]
    assert cleansed["reason"] == "unknown card"
    assert cleansed["credential"] == PSEUDONYMS.cleanse(PASSED, {"card": "secret-17"})["credential"]


def test_another_key_gives_another_pseudonym() -> None:
    attributes = {"card": "17"}
    assert Pseudonyms(b"other").cleanse(PASSED, attributes) != PSEUDONYMS.cleanse(
        PASSED, attributes
    )


@pytest.mark.parametrize("nobody", ["", None, 0])
def test_no_card_is_no_person(nobody: object) -> None:
    assert PSEUDONYMS.cleanse(PASSED, {"card": nobody, "direction": "out"}) == {"direction": "out"}


def test_who_pressed_is_told_but_no_card() -> None:
    attributes = {"name": "room 12", "card": "17"}
    cleansed = PSEUDONYMS.cleanse(EventType.PANIC_PRESSED, attributes)
    assert cleansed["name"] == "room 12"
    assert "card" not in cleansed


def test_without_a_person_nothing_is_copied() -> None:
    attributes = {"direction": "in", "seq": 17}
    assert PSEUDONYMS.cleanse(PASSED, attributes) is attributes
