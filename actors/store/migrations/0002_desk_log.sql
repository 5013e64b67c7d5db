-- The trading desk's inputs, in the order they were committed, and its actors' states. Meaning: docs/schema.md.

CREATE TABLE desk_log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    at INTEGER NOT NULL,
    time INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX desk_bars_by_time ON desk_log (time) WHERE kind IN (1, 2);

-- Never pruned: an execution that is reported again weeks later is still the same.
CREATE TABLE desk_keys (
    key TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE desk_snapshots (
    reader TEXT NOT NULL,
    part TEXT NOT NULL,
    version INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (reader, part)
) STRICT;
