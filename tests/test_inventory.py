"""Sites, devices and credentials: what they give, and that each mistake is told with its place."""

from __future__ import annotations

import re
import shutil
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.files.columns import DEVICE_COLUMNS, SITE_COLUMNS
from gateway.inventory import ADAPTERS_OF, diff, inventory_files, load_inventory
from gateway.model import (
    AdapterName,
    Credentials,
    Device,
    DeviceKind,
    Inventory,
    Ownership,
    Site,
    SiteKind,
    Technology,
)
from tests.examples import copy_good, expected_problems, mistakes, set_mode

ROOT = Path(__file__).parent.parent
SITES = "site_id,name,kind\ns,School,school\nt,Other,other\n"
RECORDER = "r,s,recorder,Rack,onvif"


def load(
    folder: Path,
    devices: str,
    *,
    sites: str = SITES,
    credentials: str | None = None,
    mqtt: bool = True,
) -> Inventory:
    (folder / "sites.csv").write_text(sites)
    (folder / "devices.csv").write_text(devices)
    if credentials is not None:
        (folder / "credentials.toml").write_text(credentials)
        (folder / "credentials.toml").chmod(0o600)
        for name in ("a", "b"):
            (folder / name).write_text(f"secret {name}\n")
            (folder / name).chmod(0o600)
    return load_inventory(
        folder / "sites.csv",
        folder / "devices.csv",
        None if credentials is None else folder / "credentials.toml",
        mqtt_configured=mqtt,
        environ={},
    )


def told(error: pytest.ExceptionInfo[ConfigError]) -> list[str]:
    return [
        f"{Path(one.file).name}:{one.line}:{one.column}: {one.message}"
        for one in error.value.problems
    ]


# --- what a good file gives -----------------------------------------------------------------------


def test_every_column_reaches_its_field(tmp_path: Path) -> None:
    inventory = load(
        tmp_path,
        ";".join(DEVICE_COLUMNS)
        + ";x_room\n"
        + "r;s;recorder;Rack;onvif;http://10.0.0.2:8000/onvif;8554;g;;;digital;Server room;;;;;"
        "2021-08-15;Hikvision;DS-7716;SN1;7\n"
        + "c;s;camera;Gate;rtsp;rtsp://10.0.0.3/1;;;r;4;analogue;;;;;;;;;;\n"
        + "p;s;panic_button;Desk;mqtt;;;;;;;;zigbee2mqtt;z/p;90000,5;c  r2c;;;;;\n"
        + "r2c;s;camera;Yard;onvif;https://yard.example;;;;;;;;;;;;;;;\n",
        sites="\ufeff"
        + ",".join(SITE_COLUMNS)
        + ",x_note\n"
        + 's,"School ""No. 1""",boarding_school,Taraz,private,2,YES,1240,Guard,0042,ISP,Service,'
        '+7 1,"Abay st., 1",42.9006,-71.3658,old roof\n',
        credentials='[g]\nusername = "u"\npassword_file = "a"\n',
    )
    assert inventory.sites == {
        "s": Site(
            site_id="s",
            name='School "No. 1"',
            kind=SiteKind.BOARDING_SCHOOL,
            district="Taraz",
            ownership=Ownership.PRIVATE,
            group=2,
            boarding=True,
            pupils=1240,
            guard_company="Guard",
            account="0042",
            provider="ISP",
            contractor="Service",
            phone="+7 1",
            address="Abay st., 1",
            latitude=42.9006,
            longitude=-71.3658,
            extra={"x_note": "old roof"},
        )
    }
    assert inventory.devices["r"] == Device(
        device_id="r",
        site_id="s",
        kind=DeviceKind.RECORDER,
        name="Rack",
        adapter=AdapterName.ONVIF,
        address="http://10.0.0.2:8000/onvif",
        rtsp_port=8554,
        credentials="g",
        technology=Technology.DIGITAL,
        location="Server room",
        installed_on=date(2021, 8, 15),
        maker="Hikvision",
        model="DS-7716",
        serial="SN1",
        extra={"x_room": "7"},
    )
    assert inventory.devices["p"] == Device(
        device_id="p",
        site_id="s",
        kind=DeviceKind.PANIC_BUTTON,
        name="Desk",
        adapter=AdapterName.MQTT,
        dialect="zigbee2mqtt",
        topic="z/p",
        heartbeat_s=90000.5,
        linked=("c", "r2c"),
    )
    assert inventory.credentials == {"g": Credentials(username="u", password="secret a")}
    assert "secret a" not in repr(inventory)


def test_the_columns_are_the_fields_of_the_model() -> None:
    assert (*SITE_COLUMNS, "extra") == Site.__struct_fields__
    assert (*DEVICE_COLUMNS, "extra") == Device.__struct_fields__
    assert set(ADAPTERS_OF) == set(DeviceKind)


def test_a_camera_behind_a_recorder_has_what_it_leaves_empty_from_it(tmp_path: Path) -> None:
    devices = load(
        tmp_path,
        "device_id,site_id,kind,name,adapter,address,rtsp_port,credentials,parent,channel\n"
        "c1,s,camera,Gate,onvif,,,,r,1\n"
        f"{RECORDER},http://10.0.0.2,8554,g,,\n"
        "c2,s,camera,Hall,rtsp,rtsp://10.0.0.2/ch2,,,r,2\n"
        "c3,s,camera,Yard,onvif,http://10.0.0.9,,,r,3\n"
        "c4,s,camera,Roof,onvif,,,h,r,4\n",
        credentials='[g]\nusername = "u"\npassword_file = "a"\n'
        '[h]\nusername = "v"\npassword_file = "b"\n',
    ).devices
    found = {
        name: (device.address, device.rtsp_port, device.credentials)
        for name, device in devices.items()
    }
    assert found["c1"] == ("http://10.0.0.2", 8554, "g")
    assert found["c2"] == ("rtsp://10.0.0.2/ch2", None, "g")
    assert found["c3"] == ("http://10.0.0.9", None, ""), "another host must not get the password"
    assert found["c4"] == ("http://10.0.0.2", 8554, "h")


def test_what_a_spreadsheet_saves_is_read(tmp_path: Path) -> None:
    """Semicolons, a byte-order mark, Windows line ends, a decimal comma, rows left empty."""
    (tmp_path / "sites.csv").write_bytes(
        "\ufeffsite_id;name;kind;latitude;longitude\r\n"
        '"school-12";"Школа ""Дарын""; филиал";school;42,9;71,36\r\n;;;;\r\n'.encode()
    )
    (tmp_path / "devices.csv").write_bytes(
        b"\xef\xbb\xbfdevice_id;site_id;kind;name;adapter;boarding\r\n".replace(b";boarding", b"")
        + b"panic;school-12;panic_button;Desk;mqtt\r\n"
    )
    inventory = load_inventory(
        tmp_path / "sites.csv", tmp_path / "devices.csv", None, mqtt_configured=True
    )
    site = inventory.sites["school-12"]
    assert (site.name, site.latitude) == ('Школа "Дарын"; филиал', 42.9)
    assert list(inventory.devices) == ["panic"]


def test_the_examples_are_valid(tmp_path: Path) -> None:
    for name in ("sites.csv", "devices.csv", "credentials.toml"):
        stem, ending = name.split(".")
        shutil.copy(ROOT / "config" / f"{stem}.example.{ending}", tmp_path / name)
    for name in ("recorders.secret", "cameras.secret"):
        (tmp_path / name).write_text("secret\n")
        set_mode(tmp_path / name)
    set_mode(tmp_path / "credentials.toml")
    inventory = load_inventory(
        tmp_path / "sites.csv",
        tmp_path / "devices.csv",
        tmp_path / "credentials.toml",
        mqtt_configured=True,
    )
    assert len(inventory.sites) == 3
    assert {device.kind for device in inventory.devices.values()} == set(DeviceKind)
    assert inventory.devices["school-12-cam-1"].address == "http://10.12.0.10"


def test_a_password_may_come_from_the_environment(tmp_path: Path) -> None:
    header = "device_id,site_id,kind,name,adapter,address,credentials\n"
    row = "c,s,camera,Gate,onvif,http://10.0.0.1,main-gate\n"
    with pytest.raises(ConfigError, match="or set KUZET_CREDENTIALS_MAIN_GATE_PASSWORD"):
        load(tmp_path, header + row, credentials='[main-gate]\nusername = "u"\n')
    inventory = load_inventory(
        tmp_path / "sites.csv",
        tmp_path / "devices.csv",
        tmp_path / "credentials.toml",
        mqtt_configured=True,
        environ={"KUZET_CREDENTIALS_MAIN_GATE_PASSWORD": "s3cret"},
    )
    assert inventory.credentials["main-gate"].password == "s3cret"


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mistake", mistakes("inventory"), ids=lambda file: file.name)
def test_each_mistake_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Path
) -> None:
    folder = copy_good(tmp_path)
    shutil.copy(mistake, folder)
    set_mode(folder / mistake.name)
    monkeypatch.chdir(folder)
    files = {"sites": "sites.csv", "devices": "devices.csv", "credentials": "credentials.toml"}
    files[mistake.name.split("-")[0]] = mistake.name
    with pytest.raises(ConfigError) as caught:
        load_inventory(
            Path(files["sites"]),
            Path(files["devices"]),
            Path(files["credentials"]),
            mqtt_configured=True,
            environ={},
        )
    expected = expected_problems(mistake, folder)
    assert expected, "tests/config/expected.txt does not say what is expected"
    found = [str(one) for one in caught.value.problems if one.file == mistake.name]
    assert found == expected
    assert "hunter2" not in str(caught.value)


MISSING_SECRET = "is missing: name a file there, or set KUZET_CREDENTIALS_G_PASSWORD"


def test_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            tmp_path,
            "device_id,site_id,kind,name,adapter\np,s,panic_button,,mqtt\nq,u,turnstile,Door,rtsp\n",
            sites="site_id,name,kind,group\ns,School,school,5\n",
            credentials="[g]\n",
        )
    assert told(caught) == [
        "credentials.toml:1:1: 'username' is missing in [g]",
        f"credentials.toml:1:1: password_file: {MISSING_SECRET}",
        "devices.csv:2:18: name: is empty",
        "devices.csv:3:3: site_id: there is no site 'u' in the sites file",
        "devices.csv:3:20: adapter: must be mqtt for a turnstile",
        "sites.csv:2:17: group: 5 is not between 1 and 3",
    ]


def test_one_mistake_is_told_once_and_not_by_whoever_leans_on_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            tmp_path,
            "device_id,site_id,kind,name,adapter,address,parent,channel,topic,dialect,linked\n"
            "r,s,recoder,Rack,onvif,http://10.0.0.2,,,,,\n"
            "c1,s,camera,Gate,onvif,,r,1,,,\n"
            "c2,s,camera,Gate,onvif,,r 1,2,,,\n"
            "c3,s,camera,Gate,onvif,,r,two,,,\n"
            "p,s,panic_button,Desk,mqtt,,,,a#,zigbee2mqtt,\n"
            "c4,s,camera\n"
            "q,s,panic_button,Desk,mqtt,,,,,,c4 c3\n",
        )
    assert [line.split(": ")[0] for line in told(caught)] == [
        "devices.csv:2:5",
        "devices.csv:4:25",
        "devices.csv:5:27",
        "devices.csv:6:31",
        "devices.csv:7:1",
    ]


def test_a_file_that_cannot_be_read_does_not_make_every_device_wrong(tmp_path: Path) -> None:
    header = "device_id,site_id,kind,name,adapter,address,credentials\n"
    rows = "c,s,camera,Gate,onvif,http://10.0.0.1,g\n"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, header + rows, sites="site;name\n", credentials="[g\n")
    assert [line.split(":")[0] for line in told(caught)] == ["credentials.toml", *["sites.csv"] * 3]


def test_mqtt_devices_need_mqtt_in_the_settings_and_that_is_told_once(tmp_path: Path) -> None:
    devices = (
        "device_id,site_id,kind,name,adapter\np,s,panic_button,Desk,mqtt\nq,s,turnstile,Door,mqtt\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, devices, mqtt=False)
    assert told(caught) == [
        "devices.csv:2:23: adapter: needs [mqtt] in the settings (and 1 more devices)"
    ]


def test_groups_are_not_known_without_a_credentials_file(tmp_path: Path) -> None:
    header = "device_id,site_id,kind,name,adapter,address,credentials\n"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, header + "c,s,camera,Gate,onvif,http://10.0.0.1,hunter2\n")
    ((line),) = told(caught)
    assert line.startswith("devices.csv:2:39: credentials: ")
    assert "hunter2" not in line, "whoever mistakes the column types the password there"


def test_the_dialects_are_those_that_the_caller_knows(tmp_path: Path) -> None:
    devices = (
        "device_id,site_id,kind,name,adapter,dialect,topic\np,s,panic_button,Desk,mqtt,tasmota,t\n"
    )
    with pytest.raises(ConfigError, match="'tasmota' is not one of native, zigbee2mqtt"):
        load(tmp_path, devices)
    inventory = load_inventory(
        tmp_path / "sites.csv",
        tmp_path / "devices.csv",
        None,
        mqtt_configured=True,
        dialects=("native", "tasmota"),
    )
    assert inventory.devices["p"].dialect == "tasmota"


FIELDS = st.sampled_from(
    [
        *("", "s", "a", "r", "1", "0", "x y", '"', '"a\nb"', "#", "a/+/b"),
        *("camera", "recorder", "panic_button", "onvif", "rtsp", "mqtt", "native", "zigbee2mqtt"),
        *("http://h", "rtsp://h/1", "http://u:p@h"),
    ]
)


@given(
    st.permutations(list(DEVICE_COLUMNS)),
    st.lists(st.lists(FIELDS, min_size=20, max_size=21), max_size=6),
)
def test_any_table_is_taken_or_told(
    tmp_path_factory: pytest.TempPathFactory, header: list[str], rows: list[list[str]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    text = "\n".join(",".join(row) for row in [header, *rows])
    try:
        devices = load(folder, text).devices
    except ConfigError as error:
        lines = text.count("\n") + 1
        told = all(1 <= one.line <= lines and one.column >= 1 for one in error.problems)
    else:
        told = len(devices) == len(rows)
    assert told


def test_a_region_is_read_without_a_mistake(tmp_path: Path) -> None:
    """17,432 cameras behind recorders, as many as the region has (its time is in benchmarks)."""
    rows = ["device_id,site_id,kind,name,adapter,address,parent,channel"]
    cameras = 17_432
    for number in range(cameras):
        recorder, channel = divmod(number, 16)
        if channel == 0:
            rows.append(f"r{recorder},s,recorder,Rack,onvif,http://10.0.{recorder % 250}.2,,")
        rows.append(f"c{number},s,camera,Camera {number},onvif,,r{recorder},{channel + 1}")
    inventory = load(tmp_path, "\n".join(rows))
    assert len(inventory.devices) == cameras + 1090
    assert not diff(inventory, load(tmp_path, "\n".join(rows)))


# --- what changed ---------------------------------------------------------------------------------

HEADER = "device_id,site_id,kind,name,adapter,address,credentials,parent,channel\n"
BEFORE = (
    HEADER + "r,s,recorder,Rack,onvif,http://10.0.0.2,g,,\n"
    "c,s,camera,Gate,onvif,,,r,1\n"
    "d,t,camera,Yard,onvif,http://10.0.0.3,h,,\n"
    "p,s,panic_button,Desk,mqtt,,,,\n"
)
GROUPS = '[g]\nusername = "u"\npassword_file = "a"\n[h]\nusername = "v"\npassword_file = "b"\n'


@pytest.mark.parametrize(
    ("devices", "sites", "groups", "added", "removed", "changed"),
    [
        (BEFORE, SITES, GROUPS, "", "", ""),
        (BEFORE.replace(HEADER, HEADER.upper().lower()), SITES, GROUPS, "", "", ""),
        (BEFORE + "q,s,turnstile,Door,mqtt,,,,\n", SITES, GROUPS, "q", "", ""),
        (BEFORE.replace("d,t,", "e,t,"), SITES, GROUPS, "e", "d", ""),
        (BEFORE.replace("Yard", "Roof"), SITES, GROUPS, "", "", "d"),
        (BEFORE.replace("Rack", "Shelf"), SITES, GROUPS, "", "", "c r"),
        (BEFORE, SITES.replace("School", "Lyceum"), GROUPS, "", "", "c p r"),
        (BEFORE, SITES + "u,New,school\n", GROUPS, "", "", ""),
        (BEFORE, SITES, GROUPS.replace('"v"', '"w"'), "", "", "d"),
        (BEFORE, SITES, GROUPS.replace('"a"', '"b"'), "", "", "c r"),
    ],
    ids=[
        "nothing",
        "nothing either",
        "a new device",
        "a renamed device",
        "a row",
        "a recorder's row",
        "a site's row",
        "a new site",
        "a user name",
        "a password",
    ],
)
def test_only_what_differs_counts_as_changed(
    tmp_path: Path, devices: str, sites: str, groups: str, added: str, removed: str, changed: str
) -> None:
    old = load(tmp_path, BEFORE, credentials=GROUPS)
    new = load(tmp_path, devices, sites=sites, credentials=groups)
    change = diff(old, new)
    assert change.added == frozenset(added.split())
    assert change.removed == frozenset(removed.split())
    assert change.changed == frozenset(changed.split())


def test_the_order_of_rows_and_columns_changes_nothing(tmp_path: Path) -> None:
    old = load(tmp_path, BEFORE, credentials=GROUPS)
    header, *rows = BEFORE.splitlines()
    swapped = [",".join(reversed(line.split(","))) for line in [header, *reversed(rows)]]
    assert not diff(old, load(tmp_path, "\n".join(swapped), credentials=GROUPS))


def test_the_files_of_passwords_are_among_those_to_watch(tmp_path: Path) -> None:
    load(tmp_path, BEFORE, credentials=GROUPS)
    sites, devices = tmp_path / "sites.csv", tmp_path / "devices.csv"
    credentials = tmp_path / "credentials.toml"
    assert inventory_files(sites, devices, credentials) == (
        sites,
        devices,
        credentials,
        tmp_path / "a",
        tmp_path / "b",
    )
    credentials.write_text("[g\n")
    assert inventory_files(sites, devices, credentials) == (sites, devices, credentials)
    assert inventory_files(sites, devices, None) == (sites, devices)


# --- what administrators read ---------------------------------------------------------------------


def test_the_reference_explains_every_column_and_word() -> None:
    reference = (ROOT / "docs" / "inventory.md").read_text()
    words = [*SITE_COLUMNS, *DEVICE_COLUMNS]
    for kind in (SiteKind, Ownership, DeviceKind, AdapterName, Technology):
        words += [str(one.value) for one in kind]
    assert [word for word in words if f"`{word}`" not in reference] == []


def test_the_tables_of_the_reference_are_valid(tmp_path: Path) -> None:
    reference = (ROOT / "docs" / "inventory.md").read_text()
    cameras, buttons = re.findall(r"```csv\n(.*?)```", reference, re.DOTALL)
    sites = "site_id,name,kind\nschool-12,School,school\nkindergarten-3,Garden,kindergarten\n"
    groups = "".join(
        f'[{name}]\nusername = "u"\npassword_file = "a"\n' for name in ("recorders", "cameras")
    )
    assert len(load(tmp_path, cameras, sites=sites, credentials=groups).devices) == 4
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, buttons, sites=sites)
    assert {line.split(": ", 1)[1] for line in told(caught)} == {
        "linked: there is no device 'school-12-cam-1'",
        "linked: there is no device 'school-12-cam-3'",
    }
