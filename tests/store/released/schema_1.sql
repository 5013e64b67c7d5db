BEGIN TRANSACTION;
CREATE TABLE archive (
    seq INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
INSERT INTO "archive" VALUES(2,X'83058492950258818252762AA88FA80072692D00');
INSERT INTO "archive" VALUES(4,X'AB7ED430E7F09EBCC3EB4133A98F1AE6D60200');
CREATE TABLE crashes (
    actor TEXT NOT NULL,
    seq INTEGER NOT NULL,
    count INTEGER NOT NULL,
    error TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (actor, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO "crashes" VALUES('billing.scorer',7,3,'ValueError',1790000000000002);
CREATE TABLE cursors (
    name TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "cursors" VALUES('snapshot',5);
INSERT INTO "cursors" VALUES('watch',6);
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY,
    actor TEXT NOT NULL,
    seq INTEGER NOT NULL,
    error TEXT NOT NULL,
    at INTEGER NOT NULL,
    replayed INTEGER,
    UNIQUE (actor, seq)
) STRICT;
INSERT INTO "dead_letters" VALUES(1,'billing.scorer',7,'ValueError',1790000000000002,NULL);
CREATE TABLE event_keys (
    tenant INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (tenant, event_id)
) STRICT, WITHOUT ROWID;
INSERT INTO "event_keys" VALUES(1,'evt_1',2);
INSERT INTO "event_keys" VALUES(1,'evt_2',3);
INSERT INTO "event_keys" VALUES(2,'evt_1',4);
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
INSERT INTO "incidents" VALUES('inc_1',1,'refund_spike','account','critical','open',1790000000000000,1790000000000000,'Refunds','{"observed":14}','["evt_1"]',3600,1790000000000000,1,NULL,1790000000000001,1790003600000000,0,1790000000000000,2);
INSERT INTO "incidents" VALUES('inc_2',2,'decline_spike','cus_1','info','resolved',1790000000000000,1790000000000000,'Refunds','{"observed":14}','["evt_1"]',3600,1790000000000000,3,1790003600000000,NULL,NULL,1,NULL,0);
CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    tenant INTEGER NOT NULL,
    at INTEGER NOT NULL,
    dictionary INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
INSERT INTO "log" VALUES(1,3,1,1790000000000000,1,X'030D3641BB71886951705A32AD0500');
INSERT INTO "log" VALUES(2,1,1,1790000000000000,1,X'424EC240BFE1528823EA61E9CE10EC3BB484500B000000FFFF');
INSERT INTO "log" VALUES(3,1,1,1790000000000000,1,X'434AC24640BFE1528823EA61E9CE04EC3BA484905550A9540B00');
INSERT INTO "log" VALUES(4,1,2,1790000000000000,1,X'424EC240BFE1528835EA6B01000000FFFF');
INSERT INTO "log" VALUES(5,2,3,1790000060000000,1,X'ABAE0500');
INSERT INTO "log" VALUES(6,5,1,1790000000000000,1,X'0336E080AE0759635C0B00');
INSERT INTO "log" VALUES(7,6,3,1790000000000000,1,X'03365733D3812D3890B925C05003A684FC5250AD0AB43019B88A071476C990E6702D00');
INSERT INTO "log" VALUES(8,4,3,1790000000000000,1,X'033A3A3F373711D4E6040E8881C215389E035A0A0E0A0A20331E34390A5A306E500B00');
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('payer_key',X'54554F53520C5B6630C510347C1C5AE242D8A1137CFC6EFBC72776A75279E615');
INSERT INTO "meta" VALUES('stored',3);
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
INSERT INTO "outbox" VALUES(1,'key_1','ops',1,'incident.opened','critical',1790000000000000,0,'{"id":"inc_1","kind":"incident.opened"}','inc_1','delivered',1,1790000000000002,'');
INSERT INTO "outbox" VALUES(2,'key_2','ops',1,'incident.opened','critical',1790000000000000,0,'{"id":"inc_1","kind":"incident.opened"}','inc_1','failed',9,1790000000000003,'410 Gone');
INSERT INTO "outbox" VALUES(3,'key_3','ops',1,'incident.opened','critical',1790000000000000,1790000000000000,'{"id":"inc_1","kind":"incident.opened"}','inc_1','pending',0,NULL,'');
CREATE TABLE scores (
    seq INTEGER PRIMARY KEY,
    score REAL NOT NULL,
    flagged INTEGER NOT NULL
) STRICT;
INSERT INTO "scores" VALUES(2,0.25,0);
INSERT INTO "scores" VALUES(3,1.0,1);
CREATE TABLE snapshots (
    tenant INTEGER NOT NULL REFERENCES tenants (id),
    part TEXT NOT NULL,
    version INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (tenant, part)
) STRICT;
INSERT INTO "snapshots" VALUES(1,'incidents',1,5,X'007374617465FF');
INSERT INTO "snapshots" VALUES(2,'watch',2,5,X'7B7D');
CREATE TABLE tenants (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO "tenants" VALUES(1,'acme');
INSERT INTO "tenants" VALUES(2,'globex');
INSERT INTO "tenants" VALUES(3,'');
CREATE INDEX incidents_by_state ON incidents (state, opened);
CREATE INDEX incidents_by_tenant ON incidents (tenant, opened);
CREATE INDEX outbox_pending ON outbox (channel, not_before) WHERE state = 'pending';
CREATE INDEX outbox_pending_by_incident ON outbox (incident) WHERE state = 'pending';
CREATE INDEX outbox_by_state ON outbox (state);
COMMIT;
PRAGMA user_version = 1;
