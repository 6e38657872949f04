"""Records as rows of a lane's file, and back; the checksum that tells damage."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b

import msgspec
from msgspec import Raw, Struct

from gateway.model import Body, Lane, Record, Retention, Stored

CHECKSUM_BYTES = 7
"""56 bits: a positive number that SQLite stores and JSON carries exactly, whatever reads it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_encode = msgspec.json.Encoder().encode
_decode_body = msgspec.json.Decoder(Body).decode


class Fault(StrEnum):
    """What is wrong with a record on disk; the reason in `kuzet_errors_total{stage="journal"}`."""

    CHECKSUM = "checksum"
    UNDECODABLE = "undecodable"
    UNREADABLE_PAGE = "unreadable_page"


class Damage(Struct, frozen=True, kw_only=True):
    """A record that is not as it was written. `record_id` is empty where not even that is left."""

    lane: Lane
    sequence: int
    record_id: str
    fault: Fault


class Damaged(Exception):
    """A row, or one row of several, is not as it was written. Never leaves this room."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault)


class _Row(Struct, frozen=True, array_like=True):
    """A row as ROW_AS_JSON writes it."""

    sequence: int
    record_id: str
    type: str
    retention: Retention
    recorded_at: int
    key: str | None
    checksum: int
    body: Raw


ROW_AS_JSON = """
    '[' || sequence || ',' || json_quote(record_id) || ',' || json_quote(type) || ','
        || json_quote(retention) || ',' || recorded_at || ',' || json_quote(key) || ','
        || checksum || ',' || body || ']'
"""
"""A row in SQL as JSON: many rows then come as one value by one step, and are decoded in one go."""

_decode_rows = msgspec.json.Decoder(list[_Row]).decode


def to_microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(count: int) -> datetime:
    return _EPOCH + count * _MICROSECOND


def encode(records: Sequence[Record]) -> bytes:
    """Rows of one lane as elements of a JSON array, without its brackets, so that the rows of
    several calls can be joined by a comma. Raises TypeError or ValueError for what JSON cannot say.
    """
    rows = []
    for record in records:
        body = _encode(record.body)
        recorded_at = to_microseconds(record.recorded_at)
        total = checksum(
            record.record_id,
            record.lane,
            record.type,
            record.retention,
            recorded_at,
            record.key,
            body,
        )
        rows.append(
            (
                record.record_id,
                record.type,
                record.retention,
                recorded_at,
                record.key,
                total,
                body.decode(),
            )
        )
    return _encode(rows)[1:-1]


def decode(lane: Lane, rows: bytes) -> list[Stored]:
    """The rows of a JSON array (see ROW_AS_JSON). Raises Damaged when any of them is damaged."""
    try:
        return [_stored(lane, row) for row in _decode_rows(rows)]
    except msgspec.DecodeError as error:  # broken JSON, or a value of a wrong kind
        raise Damaged(Fault.UNDECODABLE) from error


def _stored(lane: Lane, row: _Row) -> Stored:
    body = bytes(row.body)
    total = checksum(row.record_id, lane, row.type, row.retention, row.recorded_at, row.key, body)
    if total != row.checksum:
        raise Damaged(Fault.CHECKSUM)
    record = Record(
        record_id=row.record_id,
        lane=lane,
        retention=row.retention,
        type=row.type,
        recorded_at=from_microseconds(row.recorded_at),
        key=row.key,
        body=_decode_body(body),
    )
    return Stored(sequence=row.sequence, record=record)


def checksum(
    record_id: str,
    lane: Lane,
    type_: str,
    retention: Retention,
    recorded_at: int,
    key: str | None,
    body: bytes,
) -> int:
    """Over all that a record says and not over its sequence: a copy of it has the same."""
    head = "\n".join((record_id, lane, type_, retention, str(recorded_at), key or "", ""))
    return int.from_bytes(blake2b(head.encode() + body, digest_size=CHECKSUM_BYTES).digest(), "big")
