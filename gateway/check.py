"""What `kuzet check` tells: every mistake in the settings and in the inventory that they name."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from gateway.config import read_config
from gateway.errors import ConfigError, Problem
from gateway.inventory import DIALECTS, load_inventory


def check(
    settings: Path,
    *,
    dialects: Collection[str] = DIALECTS,
    environ: Mapping[str, str] = os.environ,
) -> tuple[Problem, ...]:
    """Every problem, by file and line; none if the gateway would start. Writes nothing.

    A mistake in the settings does not hide those of the inventory, as long as `[inventory]` itself
    can be read.
    """
    reading = read_config(settings, environ)
    problems = list(reading.problems)
    if reading.inventory is not None:
        files = reading.inventory
        try:
            load_inventory(
                files.sites,
                files.devices,
                files.credentials,
                mqtt_configured=reading.mqtt_configured,
                dialects=dialects,
                environ=environ,
            )
        except ConfigError as error:
            problems += error.problems
    return tuple(sorted(problems))
