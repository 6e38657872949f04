from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.console.routes import API, MONITORING
from tests.console.conftest import Room
from tests.console.neighbours import make_alarm


def _references(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for name, inner in value.items():
                if name == "$ref":
                    yield inner
                yield from _references(inner)
        case list():
            for inner in value:
                yield from _references(inner)


async def test_every_route_for_programs_is_described_and_no_other(room: Room) -> None:
    document = await room.get("/api/openapi.json")
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert described == {(route.method, route.path) for route in (*API, *MONITORING)}


async def test_every_reference_leads_somewhere(room: Room) -> None:
    document = await room.get("/api/openapi.json")
    schemas = document["components"]["schemas"]
    references = set(_references(document))
    assert references
    for reference in references:
        assert reference.rpartition("/")[2] in schemas, reference
        assert reference.startswith("#/components/schemas/")


async def test_bodies_queries_and_paths_are_told(room: Room) -> None:
    paths = (await room.get("/api/openapi.json"))["paths"]
    maintenance = paths["/api/v1/devices/{device_id}/maintenance"]["post"]
    body = maintenance["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["minutes", "reason"]
    assert [parameter["name"] for parameter in maintenance["parameters"]] == ["device_id"]
    listed = {parameter["name"] for parameter in paths["/api/v1/alarms"]["get"]["parameters"]}
    assert listed == {"state", "site", "audience", "limit", "cursor"}
    assert paths["/healthz"]["get"]["security"] == []


async def test_answers_have_the_fields_that_are_told(room: Room) -> None:
    room.desk.raise_(make_alarm(1))
    schemas = (await room.get("/api/openapi.json"))["components"]["schemas"]
    alarm = await room.get("/api/v1/alarms/a0001")
    assert set(alarm) == set(schemas["Alarm"]["properties"])
    (site,) = (await room.get("/api/v1/sites?limit=1"))["items"]
    assert set(site) == set(schemas["SiteSummary"]["properties"])
    device = await room.get("/api/v1/devices/s0001-camera-00000")
    assert set(device) == set(schemas["DeviceHealth"]["properties"])


def test_every_path_for_programs_is_in_the_documentation() -> None:
    told = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
    for route in (*API, *MONITORING):
        assert route.path in told, route.path
