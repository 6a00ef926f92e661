-- What was decided to be told, each notification once: `held` is the site whose round it waits for, `outcome` is empty
-- until the stages (route, group, inhibit, mute, dedup, wait) have looked at it.
CREATE TABLE notification (
  id TEXT PRIMARY KEY,
  at TEXT NOT NULL,
  body TEXT NOT NULL,
  held TEXT NOT NULL DEFAULT '',
  outcome TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
INSERT INTO notification (id, at, body, held, outcome)
  SELECT id, min(at), body, max(held), iif(max(held) = '', group_concat(channel, '; '), '') FROM outbox GROUP BY id;
CREATE INDEX notification_open ON notification (at) WHERE outcome = '' AND held = '';
CREATE INDEX notification_held ON notification (held) WHERE held != '';
CREATE INDEX notification_at ON notification (at);

-- The outbox has what channels are to be given: one row per channel and message. `due_at` is when it is tried next,
-- `gave_up` when nobody will any more.
DROP INDEX outbox_held;
DROP INDEX outbox_open;
DELETE FROM outbox WHERE held != '' AND sent_at = '';
ALTER TABLE outbox DROP COLUMN held;
ALTER TABLE outbox ADD COLUMN due_at TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN gave_up TEXT NOT NULL DEFAULT '';
CREATE INDEX outbox_open ON outbox (channel, at) WHERE sent_at = '' AND gave_up = '';
CREATE INDEX outbox_at ON outbox (at);

-- News on its way to a channel that waits for its group, its digest, or the end of what inhibits it.
CREATE TABLE waiting (
  channel TEXT NOT NULL,
  id TEXT NOT NULL,
  grp TEXT NOT NULL,
  alert TEXT NOT NULL,
  due_at TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (channel, id)
) WITHOUT ROWID;
CREATE INDEX waiting_due ON waiting (due_at);
CREATE INDEX waiting_alert ON waiting (alert);
CREATE INDEX waiting_group ON waiting (channel, grp);

-- Which channel was told that an alert fires, and not yet that it is over.
CREATE TABLE heard (
  alert TEXT NOT NULL,
  channel TEXT NOT NULL,
  route TEXT NOT NULL,
  at TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (alert, channel)
) WITHOUT ROWID;
CREATE INDEX heard_route ON heard (route, at);
INSERT INTO heard (alert, channel, route, at, body)
  SELECT t.subject, t.channel, 'default', t.at, json_object(
    'alert', t.subject, 'channel', t.channel, 'group', 'default|alert|' || t.subject, 'route', 'default', 'at', t.at)
  FROM (
    SELECT coalesce(nullif(a.body ->> '$.incident', ''), a.key) AS subject, o.channel AS channel, max(o.at) AS at
    FROM outbox o JOIN alert a ON a.key = o.body ->> '$.alerts[0].key'
    WHERE a.state IN ('firing', 'acknowledged') AND o.body ->> '$.kind' = 'firing' GROUP BY 1, 2
  ) t;

-- When a group of a channel was told last.
CREATE TABLE flushed (
  channel TEXT NOT NULL,
  grp TEXT NOT NULL,
  at TEXT NOT NULL,
  PRIMARY KEY (channel, grp)
) WITHOUT ROWID;

-- How a channel fares: `failures` in a row, and until when it is left alone.
CREATE TABLE channel (
  name TEXT PRIMARY KEY,
  failures INTEGER NOT NULL,
  not_before TEXT NOT NULL,
  at TEXT NOT NULL,
  result TEXT NOT NULL
) WITHOUT ROWID;
