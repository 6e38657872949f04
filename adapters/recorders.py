"""What is known of recorders, told by the adapter that checks them, asked for their channels."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Standing(StrEnum):
    """A recorder that nobody has told of counts as up."""

    UP = "up"
    DOUBTFUL = "doubtful"
    DOWN = "down"


class Recorders:
    """Shared by the adapters of cameras: a dead recorder is one fault, not sixteen."""

    def __init__(self) -> None:
        self._standings: dict[str, Standing] = {}
        self._doubters: list[Callable[[str], None]] = []

    def standing(self, recorder_id: str) -> Standing:
        """Empty ids are of cameras that stand alone."""
        return self._standings.get(recorder_id, Standing.UP)

    def tell(self, recorder_id: str, standing: Standing) -> None:
        """What the last check of a recorder showed."""
        if standing is Standing.UP:
            self._standings.pop(recorder_id, None)
        else:
            self._standings[recorder_id] = standing

    def doubt(self, recorder_id: str) -> None:
        """A channel does not answer: its recorder is to be asked soon."""
        for doubter in self._doubters:
            doubter(recorder_id)

    def on_doubt(self, doubter: Callable[[str], None]) -> None:
        """`doubter` is called with the recorder's id, whichever adapter it belongs to."""
        self._doubters.append(doubter)
