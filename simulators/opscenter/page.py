"""What a person sees who opens the simulated operations center: the last alarms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from itertools import islice
from typing import Any

SHOWN = 50
_ALARM = "kz.kuzet.alarm."

SIGN_IN = "<!doctype html><title>Sign in</title><form>Please sign in to the network.</form>"
"""What a captive portal puts in place of every answer."""

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta http-equiv="refresh" content="2">
<title>Operations center (simulated)</title>
<style>body{{font:16px system-ui;margin:2rem}}td,th{{padding:.3rem .8rem;text-align:left}}
.critical{{color:#b00020;font-weight:600}}</style>
<h1>Operations center <small>(simulated)</small></h1>
<table><tr><th>Time</th><th>What</th><th>Condition</th><th>Device</th><th>Site</th></tr>
{rows}</table></html>
"""


def render(newest_first: Iterable[Mapping[str, Any]]) -> str:
    alarms = (event for event in newest_first if event["type"].startswith(_ALARM))
    return _PAGE.format(rows="\n".join(_row(event) for event in islice(alarms, SHOWN)))


def _row(event: Mapping[str, Any]) -> str:
    content = event.get("data")
    alarm = content if isinstance(content, Mapping) else {}
    cells = (
        event.get("time", ""),
        event["type"].removeprefix(_ALARM),
        alarm.get("condition", ""),
        event.get("subject", ""),
        alarm.get("site_id", ""),
    )
    severity = escape(str(event.get("severity", "")), quote=True)
    inside = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
    return f'<tr class="{severity}">{inside}</tr>'
