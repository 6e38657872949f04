-- Every record of one lane, in the order of its commits.
CREATE TABLE record (
    -- Never given twice, not even when the last records are gone: a cursor would skip the new ones.
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    record_id   TEXT    NOT NULL UNIQUE,
    type        TEXT    NOT NULL,
    retention   TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL, -- microseconds since 1970, UTC
    key         TEXT,
    checksum    INTEGER NOT NULL, -- see codec.py
    body        TEXT    NOT NULL  -- JSON, byte for byte as it was encoded
) STRICT;

-- What is old enough to go, and since when a record may have come. It also counts records without
-- reading their bodies.
CREATE INDEX record_age ON record (retention, recorded_at);

-- The last record of every key and type. A family of types (`alarm`, `device.health`) is asked for
-- by its name or by its prefix, so the newest of a key is chosen when reading.
CREATE TABLE latest (
    key      TEXT    NOT NULL,
    type     TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    closed   INTEGER NOT NULL, -- the alarm that it tells of is over: its records may expire
    PRIMARY KEY (key, type)
) STRICT, WITHOUT ROWID;

-- Triggers, so that one statement, and with it one step of the writer thread, commits a group.
CREATE TRIGGER record_becomes_latest AFTER INSERT ON record WHEN NEW.key IS NOT NULL
BEGIN
    INSERT INTO latest (key, type, sequence, closed)
    VALUES (NEW.key, NEW.type, NEW.sequence,
            json_extract(NEW.body, '$.alarm.state') IS 'closed')
    ON CONFLICT (key, type) DO UPDATE
    SET sequence = excluded.sequence, closed = excluded.closed;
END;

CREATE TRIGGER record_was_latest AFTER DELETE ON record WHEN OLD.key IS NOT NULL
BEGIN
    DELETE FROM latest WHERE key = OLD.key AND type = OLD.type AND sequence = OLD.sequence;
END;
