-- What becomes of alerts: incidents, silences, what people did, what was not told and why. Times are ISO 8601, UTC.
ALTER TABLE alert ADD COLUMN incident TEXT NOT NULL DEFAULT '';
CREATE INDEX alert_incident ON alert (incident) WHERE incident != '';
CREATE INDEX alert_resolved ON alert (last_at) WHERE state = 'resolved';
CREATE INDEX alert_key ON alert (key);

CREATE TABLE incident (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  opened_at TEXT NOT NULL,
  last_at TEXT NOT NULL,
  body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX incident_open ON incident (state) WHERE state = 'open';
CREATE INDEX incident_opened ON incident (opened_at);

-- The end of a silence moves to now when somebody takes it back; rows stay.
CREATE TABLE silence (
  no INTEGER PRIMARY KEY,
  ends_at TEXT NOT NULL,
  body TEXT NOT NULL
);
CREATE INDEX silence_ends ON silence (ends_at);

CREATE TABLE suppressed (
  no INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  key TEXT NOT NULL,
  body TEXT NOT NULL
);
CREATE INDEX suppressed_key ON suppressed (key, at);
CREATE INDEX suppressed_at ON suppressed (at);

-- Who did what, when and why. Rows are only ever added.
CREATE TABLE act (
  no INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  what TEXT NOT NULL,
  key TEXT NOT NULL,
  body TEXT NOT NULL
);
CREATE INDEX act_key ON act (key, no);
CREATE TRIGGER act_changed BEFORE UPDATE ON act BEGIN SELECT RAISE(ABORT, 'acts are only added'); END;
CREATE TRIGGER act_deleted BEFORE DELETE ON act BEGIN SELECT RAISE(ABORT, 'acts are only added'); END;

-- Alerts that came or went lately.
CREATE TABLE flap (
  key TEXT PRIMARY KEY,
  body TEXT NOT NULL
) WITHOUT ROWID;

-- How far something has been dealt with, such as acts that channels were told of.
CREATE TABLE mark (
  name TEXT PRIMARY KEY,
  no INTEGER NOT NULL
) WITHOUT ROWID;

-- What fires already was told when it did: each is an incident, or all of it would be told again.
INSERT INTO incident (id, state, opened_at, last_at, body)
SELECT printf('i-%012x', no), 'open', body ->> '$.first_at', body ->> '$.last_at', json_object(
  'id', printf('i-%012x', no), 'kind', iif(endpoint = '', 'site', 'endpoint'),
  'subject', iif(endpoint = '', 'site alone:' || (body ->> '$.site'), endpoint), 'title', body ->> '$.summary',
  'severity', body ->> '$.severity', 'opened_at', body ->> '$.first_at', 'last_at', body ->> '$.first_at',
  'site', body ->> '$.site', 'count', 1, 'firing', 1, 'told_at', body ->> '$.first_at',
  'told_severity', body ->> '$.severity')
FROM alert WHERE state IN ('firing', 'acknowledged');
UPDATE alert SET incident = printf('i-%012x', no), body = json_set(
  body, '$.incident', printf('i-%012x', no), '$.fired_at', body ->> '$.first_at', '$.told_at', body ->> '$.first_at')
WHERE state IN ('firing', 'acknowledged');
-- What was decided is not held any more: whose trouble it is, is found out before anything is put into the outbox.
UPDATE outbox SET held = '';
