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
