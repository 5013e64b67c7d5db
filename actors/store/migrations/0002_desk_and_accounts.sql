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

-- Under which id a service keeps the first message about an incident: what follows edits it, or replies to it.
CREATE TABLE messages (
    channel TEXT NOT NULL,
    incident TEXT NOT NULL REFERENCES incidents (id),
    message TEXT NOT NULL,
    PRIMARY KEY (incident, channel)
) STRICT, WITHOUT ROWID;

-- An old incident goes together with what was sent about it.
CREATE INDEX outbox_by_incident ON outbox (incident) WHERE incident IS NOT NULL;

-- In the order of their ids: the oldest of a thousand that wait for a channel are found without looking at the others.
CREATE INDEX outbox_pending_in_order ON outbox (channel) WHERE state = 'pending';

-- Tenants that were added while the daemon ran, as they would stand in the config file, secrets included.
CREATE TABLE tenant_settings (
    tenant INTEGER PRIMARY KEY REFERENCES tenants (id),
    settings TEXT NOT NULL,
    changed INTEGER NOT NULL
) STRICT;

-- How far each tenant's events at Stripe have been compared with the log.
CREATE TABLE backfills (
    tenant INTEGER PRIMARY KEY REFERENCES tenants (id),
    since INTEGER NOT NULL,
    history_until INTEGER NOT NULL,
    compared INTEGER NOT NULL,
    fetched INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    missed INTEGER NOT NULL,
    missed_first INTEGER,
    missed_last INTEGER
) STRICT;
