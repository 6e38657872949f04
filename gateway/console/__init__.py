"""The console: pages for operators and technicians, the API for programs, health and metrics."""

from gateway.console.context import (
    ApiToken,
    Check,
    ConsoleSettings,
    DeviceDesk,
    Listen,
    Readiness,
)
from gateway.console.server import CannotListen, Console
from gateway.console.users import Role, UserStore

__all__ = [
    "ApiToken",
    "CannotListen",
    "Check",
    "Console",
    "ConsoleSettings",
    "DeviceDesk",
    "Listen",
    "Readiness",
    "Role",
    "UserStore",
]
