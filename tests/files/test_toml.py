from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.files.toml import KeyPath, Place, parse_toml, read_toml

TRICKY = (Path(__file__).parent / "tricky.toml").read_text()


def paths(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, (*path, index))


def at(text: str, place: Place) -> str:
    """The text from a place on."""
    return "\n".join(text.split("\n")[place.line - 1 :])[place.column - 1 :]


def test_every_key_and_value_has_a_place() -> None:
    toml = parse_toml(TRICKY, file="x.toml")
    assert toml.document == tomllib.loads(TRICKY)
    assert set(toml.keys) == set(toml.values) | {("dotted",), ("dotted", "and quoted")} | {
        ("array", 2, "x y"),
        ("sink", 1, "options", "deep", "a"),
    }
    assert set(toml.keys) == set(paths(toml.document))


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("bare",), "bare = 1", "1 # = 2"),
        (("quoted.key",), '"quoted.key"', '"a = b # c"'),
        (("literal",), "'literal'", "'c:\\'"),
        (("dotted", "and quoted", "deep"), "dotted .", "true"),
        (("basic",), "basic", '"""\n[not'),
        (("after_basic",), "after_basic", "1979-05-27 07:32:00"),
        (("raw",), "raw", "'''\n[["),
        (("array", 0), '"]"', '"]"'),
        (("array", 1, 1), "2]", "2]"),
        (("array", 2, "inline"), "inline", '"}"'),
        (("array", 2, "x y", "z"), '"x y".z', "[ ]"),
        (("table", "sub table"), "[ table", "[ table"),
        (("table", "sub table", "indented", 1), "inf", "inf"),
        (("sink",), '[[sink]]\nname = "a"', '[[sink]]\nname = "a"'),
        (("sink", 0, "name"), "name", '"a"'),
        (("sink", 0, "route", 1, "to"), "to = 2", "2"),
        (("sink", 1), "[[sink]]\n[sink", "[[sink]]\n[sink"),
        (("sink", 1, "options", "deep", "a", "b"), "a.b", "1,"),
        (("sink", 1, "options", "deep", "c"), "c =", '"é"'),
    ],
)
def test_a_place_is_where_the_text_stands(path: KeyPath, key: str, value: str) -> None:
    toml = parse_toml(TRICKY, file="x.toml")
    assert at(TRICKY, toml.key(path)).startswith(key)
    assert at(TRICKY, toml.value(path)).startswith(value)


def test_what_is_absent_has_the_place_of_its_table() -> None:
    toml = parse_toml('a = 1\n[mqtt]\nurl = "x"\n', file="x.toml")
    assert toml.key(("mqtt", "username")) == (2, 1)
    assert toml.value(("mqtt", "username")) == (2, 1)
    assert toml.key(("console", "token", 0)) == (1, 1)


def test_line_ends_of_windows_and_a_byte_order_mark_move_nothing(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b"\xef\xbb\xbf[a]\r\nb = '''x\r\ny'''\r\n  c = 2\r\n")
    toml = read_toml(file)
    assert toml.key(("a",)) == (1, 1)
    assert toml.key(("a", "c")) == (4, 3)


SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False),
    st.dates(),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def written(value: Any) -> str:
    """A value as TOML, tables inline; strings by turns in each of the ways to write them."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return written_text(value)
        case list():
            return "[\n # ]\n" + ",".join(written(one) for one in value) + "]"
        case dict():
            pairs = (f"{escaped(key)} = {written(one)}" for key, one in value.items())
            return "{" + ", ".join(pairs) + "}"
        case _:
            return str(value)


def written_text(text: str) -> str:
    plain = all(character.isprintable() for character in text)
    if plain and "'" not in text and len(text) % 3 == 0:
        return f"'{text}'"
    if plain and "'''" not in text and not text.endswith("'") and len(text) % 3 == 1:
        return f"'''{text}'''"
    if len(text) % 2:
        return f'""{escaped(text)}""'
    return escaped(text)


def escaped(text: str) -> str:
    special = {'"': '\\"', "\\": "\\\\"}
    return (
        '"'
        + "".join(
            special.get(one, one if one.isprintable() else f"\\U{ord(one):08X}") for one in text
        )
        + '"'
    )


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), st.booleans())
def test_the_scanner_finds_what_tomllib_finds(document: dict[str, Any], tables: bool) -> None:
    lines = []
    for key, value in sorted(document.items(), key=lambda item: isinstance(item[1], dict)):
        if tables and isinstance(value, dict):
            lines.append(f"[ {escaped(key)} ] # {key!r}")
            lines += [f"{escaped(name)}={written(one)}" for name, one in value.items()]
        else:
            lines.append(f"{escaped(key)} = {written(value)} # {key!r}")
    text = "\n".join(lines)
    toml = parse_toml(text, file="x.toml")
    assert toml.document == document
    assert set(toml.keys) == set(paths(document))
    for path, place in toml.values.items():
        here = at(text, place)
        found: Any = document
        for part in path:
            found = found[part]
        if not isinstance(found, dict):
            assert here.startswith(written(found))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a = 1\nb = \n", (2, 5)),
        ("a = 1\n\na = 2\n", (3, 6)),
        ('a = "x', (1, 7)),
        ('[a]\nb = """x\ny\n', (4, 1)),
        ("a = [1,\n2", (2, 2)),
        ("[" * 5000, (1, 3)),
    ],
)
def test_a_syntax_error_has_its_place(text: str, place: tuple[int, int]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_toml(text, file="x.toml")
    (problem,) = caught.value.problems
    assert problem.file == "x.toml"
    assert (problem.line, problem.column) == place
    assert "not TOML" in problem.message


@pytest.mark.parametrize(
    "text",
    [
        f"a = {'[' * 40}{']' * 40}",
        f"a = {'[' * 40_000}{']' * 40_000}",
        f"a = {'{ b = ' * 40}1{' }' * 40}",
        f"a{'.a' * 400} = 1",
        f"[a{'.a' * 400}]",
    ],
    ids=["lists", "endless lists", "tables", "dotted key", "header"],
)
def test_what_is_nested_too_deep_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="nested too deep"):
        parse_toml(text, file="x.toml")


@given(st.text(st.sampled_from("ab=[]{}\"'#,.\n\\ 1"), max_size=40))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    try:
        toml = parse_toml(text, file="x.toml")
    except ConfigError as error:
        (problem,) = error.problems
        assert problem.line >= 1
        assert problem.column >= 1
    else:
        assert set(toml.keys) == set(paths(toml.document))
