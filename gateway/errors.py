"""Errors, named by who recovers from them.

A library's own errors are mapped to these once, at the edge where the library is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.model import Reason


class KuzetError(Exception):
    """Every error that Kuzet raises on purpose."""


# --- the administrator recovers, by mending a file -----------------------------------------------


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in one file: where it is and what to change. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigError(KuzetError):
    """Settings or inventory cannot be used; `problems` holds every mistake, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


# --- the supervisor recovers, by starting the component anew -------------------------------------


class AdapterError(KuzetError):
    """An adapter cannot go on: its broker or its network is gone. The supervisor restarts it."""


# --- the check recovers, by reporting what it saw ------------------------------------------------


class DeviceFault(KuzetError):
    """A device did not do what it was asked; `reason` says which of the closed list it is."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else str(reason))


# --- the caller of the journal recovers, by waiting or by dropping telemetry ---------------------


class JournalError(KuzetError):
    """The journal did not take the records: none of the call's records is durable."""


class JournalFull(JournalError):
    """No room on disk for this lane."""


class JournalNewer(JournalError):
    """The files were written by a newer Kuzet: refuse to touch them."""


# --- the forward loop recovers, by the contract's answer table -----------------------------------


class DeliveryError(KuzetError):
    """A sink did not accept a batch."""


class Retryable(DeliveryError):
    """No fault of the batch: try again, not before `retry_after` seconds where the sink said so."""

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(detail)


class EndpointFault(DeliveryError):
    """The endpoint itself is wrong (address, credentials, redirect): no batch would be accepted."""


class TooLarge(DeliveryError):
    """The batch is too large; its parts may be accepted."""


class Permanent(DeliveryError):
    """The same batch will always be refused."""


# --- the person who gave the command recovers ----------------------------------------------------


class CommandRefused(KuzetError):
    """The command does not fit the present state (HTTP 409)."""


class NotFound(KuzetError):
    """No such alarm, device or site (HTTP 404)."""
