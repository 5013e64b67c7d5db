-- The trading desk's inputs, in the order they were committed. What each column is for: docs/schema.md.

CREATE TABLE desk_log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    at INTEGER NOT NULL,
    time INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX desk_bars_by_time ON desk_log (time) WHERE kind IN (1, 2);
