"""The API's description, OpenAPI 3.1, made from the table of routes: it cannot tell otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from pydantic import BaseModel

from gateway.console.problems import CONTENT_TYPE, ProblemDetails
from gateway.console.routes import Route

REFS = "#/components/schemas/"


def describe(routes: Iterable[Route], version: str) -> Mapping[str, Any]:
    """The document of all routes that programs use."""
    listed = [route for route in routes if route.summary]
    answers = [ProblemDetails, *(route.answer for route in listed if route.answer is not None)]
    schemas, components = msgspec.json.schema_components(
        answers, ref_template=f"{REFS}{{name}}", schema_hook=_anything
    )
    problem, *told = schemas
    paths: dict[str, dict[str, Any]] = {}
    for route in listed:
        operation: dict[str, Any] = {"summary": route.summary}
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", route.path)
        ]
        if route.takes is not None:
            schema = _model(route.takes, components)
            if route.method == "GET":
                parameters += _query(schema)
            else:
                operation["requestBody"] = {
                    "required": bool(schema.get("required")),
                    "content": {"application/json": {"schema": schema}},
                }
        if parameters:
            operation["parameters"] = parameters
        content = {"application/json": {"schema": told.pop(0) if route.answer else {}}}
        operation["responses"] = {
            "200": {
                "description": "OK",
                "content": {route.content_type: {}} if route.content_type else content,
            },
            "default": {
                "description": "Not done, and why",
                "content": {CONTENT_TYPE: {"schema": problem}},
            },
        }
        if route.roles is None:
            operation["security"] = []
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kuzet", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _anything(kind: type) -> dict[str, Any]:
    """The schema of `object`: what a check saw may be any JSON value."""
    if kind is not object:
        raise NotImplementedError
    return {"description": "any JSON value"}


def _model(model: type[BaseModel], components: dict[str, Any]) -> dict[str, Any]:
    """The schema of a body or query; what it refers to goes among the components."""
    schema = model.model_json_schema(ref_template=f"{REFS}{{model}}")
    for name, definition in schema.pop("$defs", {}).items():
        components.setdefault(name, definition)
    return schema


def _query(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "schema": {key: value for key, value in field.items() if key != "description"},
            **({"description": field["description"]} if "description" in field else {}),
        }
        for name, field in schema["properties"].items()
    ]
