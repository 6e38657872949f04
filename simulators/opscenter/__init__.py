"""A simulated operations center that checks what it gets and fails on demand."""

from simulators.opscenter.admission import Refusal
from simulators.opscenter.answer import Answer, Manner
from simulators.opscenter.center import Attempt, OperationsCenter
from simulators.opscenter.inbox import Received
from simulators.opscenter.signature import new_secret

__all__ = [
    "Answer",
    "Attempt",
    "Manner",
    "OperationsCenter",
    "Received",
    "Refusal",
    "new_secret",
]
