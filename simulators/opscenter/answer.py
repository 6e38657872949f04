"""What the operations center can be told to answer instead of accepting."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Manner(StrEnum):
    PLAIN = "plain"
    """The status and nothing else; a 2xx means that the events were kept."""
    HTML = "html"
    """200 with a sign-in page, as a captive portal answers; nothing is kept."""
    CLOSE = "close"
    """The connection is cut before a word of answer; nothing is kept."""
    TORN = "torn"
    """The events are kept and the answer breaks off in its middle: the sender cannot know."""
    HANG = "hang"
    """No answer ever; nothing is kept."""


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`lane` None: for both. `times` None: until told otherwise. `delay_s` comes before it."""

    status: int = 202
    lane: str | None = None
    times: int | None = None
    retry_after: float | None = None
    delay_s: float = 0.0
    manner: Manner = Manner.PLAIN


ACCEPT = Answer()
