-- Times are UTC integer microseconds. What each table is for: docs/schema.md.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('stored', 0);

CREATE TABLE tenants (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    tenant INTEGER NOT NULL,
    at INTEGER NOT NULL,
    dictionary INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;

-- Never pruned: an event that comes back years later is still a duplicate.
CREATE TABLE event_keys (
    tenant INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (tenant, event_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE archive (
    seq INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE scores (
    seq INTEGER PRIMARY KEY,
    score REAL NOT NULL,
    flagged INTEGER NOT NULL
) STRICT;

CREATE TABLE cursors (
    name TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
    tenant INTEGER NOT NULL REFERENCES tenants (id),
    part TEXT NOT NULL,
    version INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (tenant, part)
) STRICT;

CREATE TABLE incidents (
    id TEXT PRIMARY KEY,
    tenant INTEGER NOT NULL REFERENCES tenants (id),
    signal TEXT NOT NULL,
    scope TEXT NOT NULL,
    severity TEXT NOT NULL,
    state TEXT NOT NULL,
    opened INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    title TEXT NOT NULL,
    evidence TEXT NOT NULL,
    event_ids TEXT NOT NULL,
    quiet_s INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    resolved INTEGER,
    acked INTEGER,
    snoozed_until INTEGER,
    false_positive INTEGER NOT NULL,
    notified INTEGER,
    reminders INTEGER NOT NULL
) STRICT;
CREATE INDEX incidents_by_state ON incidents (state, opened);
CREATE INDEX incidents_by_tenant ON incidents (tenant, opened);

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    channel TEXT NOT NULL,
    tenant INTEGER NOT NULL REFERENCES tenants (id),
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    created INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    payload TEXT NOT NULL,
    incident TEXT REFERENCES incidents (id),
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    settled INTEGER,
    error TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_pending ON outbox (channel, not_before) WHERE state = 'pending';
CREATE INDEX outbox_pending_by_incident ON outbox (incident) WHERE state = 'pending';
CREATE INDEX outbox_by_state ON outbox (state);

CREATE TABLE crashes (
    actor TEXT NOT NULL,
    seq INTEGER NOT NULL,
    count INTEGER NOT NULL,
    error TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (actor, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY,
    actor TEXT NOT NULL,
    seq INTEGER NOT NULL,
    error TEXT NOT NULL,
    at INTEGER NOT NULL,
    replayed INTEGER,
    UNIQUE (actor, seq)
) STRICT;
