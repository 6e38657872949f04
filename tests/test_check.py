"""`kuzet check`: every mistake of every file, by file and line."""

from __future__ import annotations

from pathlib import Path

from gateway.check import check
from tests.examples import FOLDER, copy_good, mistakes

SETTINGS = """\
[gateway]
name = "zhambyl"
locale = "kz"

[inventory]
credentials = "credentials.toml"

[cameras]
helth_interval_s = 60
events = "yes"

[[sink]]
type = "opscenter"
name = "opscenter"
url = "https://ops.example/events"
signing_secret_file = "gone.secret"
fallback = "second"
"""
SITES = """\
site_id;name;kind\r
school-1;Школа № 1;shcool\r
school-1;Школа № 2;school\r
"""
DEVICES = """\
device_id;site_id;kind;name;adapter;address;credentials\r
cam-1;school-1;camera;"Двор;
вход";onvif;http://admin:12345@10.0.0.5;cameras\r
cam-2;school-7;camera;Коридор;onvif;http://10.0.0.6;recorders\r
panic-1;school-1;panic_button;Пост;mqtt;;\r
"""


def test_good_files_have_no_problems(tmp_path: Path) -> None:
    folder = copy_good(tmp_path)
    before = sorted(folder.iterdir())
    assert check(folder / "gateway.toml", environ={}) == ()
    assert sorted(folder.iterdir()) == before, "a check makes nothing, not even the pseudonym key"


def test_eleven_different_mistakes_are_all_named_with_file_and_line(tmp_path: Path) -> None:
    """In settings and in a CSV as a spreadsheet saves it: semicolons, byte-order mark, CRLF."""
    folder = copy_good(tmp_path)
    (folder / "gateway.toml").write_text(SETTINGS)
    for name, text in (("sites.csv", SITES), ("devices.csv", DEVICES)):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    problems = check(folder / "gateway.toml", environ={})
    assert [(Path(one.file).name, one.line, one.column) for one in problems] == [
        ("devices.csv", 3, 13),
        ("devices.csv", 4, 7),
        ("devices.csv", 4, 53),
        ("devices.csv", 5, 36),
        ("gateway.toml", 3, 10),
        ("gateway.toml", 9, 1),
        ("gateway.toml", 10, 10),
        ("gateway.toml", 16, 23),
        ("gateway.toml", 17, 12),
        ("sites.csv", 2, 20),
        ("sites.csv", 3, 1),
    ]
    words = "\n".join(one.message for one in problems)
    assert "did you mean 'health_interval_s'?" in words
    assert "did you mean 'school'?" in words
    assert "needs [mqtt]" in words
    assert "12345" not in words


def test_a_problem_reads_as_an_editor_expects_it(tmp_path: Path) -> None:
    folder = copy_good(tmp_path)
    (folder / "devices.csv").write_text("device_id,site_id,kind,name,adapter\n")
    (folder / "gateway.toml").write_text("[gateway]\nname = 7\n")
    (problem,) = check(folder / "gateway.toml", environ={})
    assert str(problem) == f"{folder}/gateway.toml:2:8: name: must be text in quotes"


def test_the_inventory_is_not_looked_for_when_its_section_is_wrong(tmp_path: Path) -> None:
    folder = copy_good(tmp_path)
    (folder / "gateway.toml").write_text('[gateway]\nname = "x"\n[inventory]\nsites = 1\n')
    (folder / "devices.csv").write_text("nonsense\n")
    assert [one.line for one in check(folder / "gateway.toml", environ={})] == [4]


def test_every_expected_problem_is_of_an_example(tmp_path: Path) -> None:
    """So that no example can be removed or renamed and its expectation be left behind."""
    files = {file.name for kind in ("settings", "inventory") for file in mistakes(kind)}
    lines = (FOLDER / "expected.txt").read_text().splitlines()
    assert {line.split(":")[0] for line in lines} == files
