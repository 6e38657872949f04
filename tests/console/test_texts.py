from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

import gateway.console
from gateway.console import Role, advice, texts
from gateway.console.texts import LANGUAGES, load_languages, negotiate
from gateway.model import AlarmState, Condition, DeviceKind, Reason, State

FOLDER = Path(gateway.console.__file__).parent
PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w+\}")
TRANSLATED = [code for code in LANGUAGES if code != "en"]

Texts = str | tuple[str, ...]


def _spoken() -> set[Texts]:
    """Every text that code and templates ask for, found as pybabel finds them."""
    with (FOLDER / "locales" / "babel.cfg").open() as mapping:
        methods, options = parse_mapping_cfg(mapping)  # type: ignore[no-untyped-call]
    return {_text(message) for _, _, message, _, _ in extract_from_dir(FOLDER, methods, options)}


def _catalogue(path: str) -> Catalog:
    with (FOLDER / "locales" / path).open("rb") as po:
        return read_po(po)


def _messages(catalogue: Catalog) -> dict[Texts, Message]:
    return {_text(message.id): message for message in catalogue if message.id}


def _text(told: str | Iterable[str]) -> Texts:
    return told if isinstance(told, str) else tuple(told)


def _all(told: str | Iterable[str] | None) -> list[str]:
    return [told] if isinstance(told, str) else list(told or ())


def test_the_template_of_all_catalogues_is_up_to_date() -> None:
    assert _messages(_catalogue("kuzet.pot")).keys() == _spoken()


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_text_is_translated_and_nothing_else(code: str) -> None:
    messages = _messages(_catalogue(f"{code}/LC_MESSAGES/kuzet.po"))
    assert messages.keys() == _spoken()
    for message in messages.values():
        assert _all(message.string), message.id
        assert all(text.strip() for text in _all(message.string)), message.id
        assert not message.fuzzy, message.id


@pytest.mark.parametrize("code", TRANSLATED)
def test_translations_have_the_placeholders_of_the_original(code: str) -> None:
    for message in _catalogue(f"{code}/LC_MESSAGES/kuzet.po"):
        wanted = sorted(PLACEHOLDER.findall(_all(message.id)[0]))
        for translation in _all(message.string):
            assert sorted(PLACEHOLDER.findall(translation)) == wanted, message.id


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (texts.STATES, State),
        (texts.KINDS, DeviceKind),
        (texts.CONDITIONS, Condition),
        (texts.ALARM_STATES, AlarmState),
        (texts.ROLES, Role),
        (advice.REASONS, Reason),
        (advice.ADVICE, Reason),
    ],
    ids=["states", "kinds", "conditions", "alarm states", "roles", "reasons", "advice"],
)
def test_everything_that_can_be_shown_has_a_name(
    names: Mapping[StrEnum, str], known: type[StrEnum]
) -> None:
    assert set(names) == set(known)
    assert all(names.values())


def test_each_advice_is_one_sentence_that_differs_from_the_others() -> None:
    assert len(set(advice.ADVICE.values())) == len(Reason)
    for text in advice.ADVICE.values():
        assert text.endswith(".")
        assert ". " not in text


@pytest.mark.parametrize(
    ("cookie", "accept", "default", "spoken"),
    [
        ("kk", "ru", "en", "kk"),
        ("tlh", "ru", "en", "ru"),
        (None, "de-DE,de;q=0.9,kk;q=0.8,en;q=0.7", "ru", "kk"),
        (None, "en;q=0.2, ru-KZ;q=0.9", "kk", "ru"),
        (None, "ru;q=0, en", "kk", "en"),
        (None, "ru;q=much", "kk", "kk"),
        (None, "", "ru", "ru"),
        (None, "*", "kk", "kk"),
        (None, "," * 10_000, "kk", "kk"),
        (None, "", "xx", "en"),
    ],
)
def test_the_reader_is_spoken_to_in_a_language_of_theirs(
    cookie: str | None, accept: str, default: str, spoken: str
) -> None:
    assert negotiate(cookie, accept, default) == spoken


def test_moments_are_told_in_the_gateways_time_zone_as_short_as_can_be() -> None:
    languages = load_languages("Asia/Almaty")
    now = datetime(2026, 11, 22, 21, 30, tzinfo=UTC)  # The 23rd, 02:30, in Almaty.
    told = {
        code: [
            language.moment(moment, now)
            for moment in (
                datetime(2026, 11, 22, 19, 0, 5, tzinfo=UTC),
                datetime(2026, 11, 22, 18, 59, tzinfo=UTC),
                datetime(2025, 11, 22, 18, 59, tzinfo=UTC),
            )
        ]
        for code, language in languages.items()
    }
    assert told["en"] == ["00:00:05", "22 Nov, 23:59", "22 Nov 2025, 23:59"]
    assert told["ru"] == ["00:00:05", "22 нояб., 23:59", "22 нояб. 2025, 23:59"]
    assert told["kk"] == ["00:00:05", "22 қар., 23:59", "22 қар. 2025, 23:59"]


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("battery", 0.83, "83\xa0%"),
        ("clock_skew_s", 3721.4, "3\xa0721,4"),
        ("width", 1920, "1920"),
        ("poe", True, "да"),
        ("test_until", "2026-11-22T21:40:00+00:00", "02:40:00"),
        ("maker", "x" * 500, "x" * 200),
        ("own", {"a": 1}, "{'a': 1}"),
    ],
)
def test_what_a_check_saw_is_written_as_people_write_it(
    name: str, value: object, written: str
) -> None:
    now = datetime(2026, 11, 22, 21, 30, tzinfo=UTC)
    assert load_languages("Asia/Almaty")["ru"].seen(name, value, now) == written


def test_counts_are_told_in_the_languages_own_plurals() -> None:
    ru = load_languages("UTC")["ru"].ngettext
    forms = [ru("%(num)s time", "%(num)s times", count) for count in (1, 2, 5, 21)]
    assert forms == ["%(num)s раз", "%(num)s раза", "%(num)s раз", "%(num)s раз"]
