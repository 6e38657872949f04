-- Everything up to `sequence` is settled for this consumer.
CREATE TABLE cursor (
    consumer TEXT    PRIMARY KEY,
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Records kept beside a cursor: to be tried again at `retry_at`, or by a person when it is NULL.
CREATE TABLE aside (
    consumer TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    reason   TEXT    NOT NULL,
    attempts INTEGER NOT NULL,
    since    INTEGER NOT NULL, -- microseconds since 1970, UTC
    retry_at INTEGER,
    PRIMARY KEY (consumer, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX aside_due ON aside (consumer, retry_at) WHERE retry_at IS NOT NULL;
CREATE INDEX aside_sequence ON aside (sequence);

-- Records that are not as they were written. They stay in `record` for whoever looks into it.
CREATE TABLE damaged (
    sequence  INTEGER PRIMARY KEY,
    record_id TEXT    NOT NULL,
    fault     TEXT    NOT NULL,
    found_at  INTEGER NOT NULL
) STRICT;
