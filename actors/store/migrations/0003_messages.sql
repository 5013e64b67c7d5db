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
