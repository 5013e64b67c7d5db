-- Tenants that were added while the daemon ran: as in the configuration, with their secrets. Those of the config file
-- are not here.
CREATE TABLE tenant_settings (
    tenant INTEGER PRIMARY KEY REFERENCES tenants (id),
    settings TEXT NOT NULL,
    changed INTEGER NOT NULL
) STRICT;

-- How far each tenant's events at Stripe have been compared with the log.
CREATE TABLE backfills (
    tenant INTEGER PRIMARY KEY REFERENCES tenants (id),
    compared INTEGER NOT NULL,
    history_until INTEGER NOT NULL,
    fetched INTEGER NOT NULL,
    missed INTEGER NOT NULL,
    missed_first INTEGER NOT NULL,
    missed_last INTEGER NOT NULL
) STRICT;
