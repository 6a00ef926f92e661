-- The coordinator's own: the newest of each endpoint, alerts, and what is to be told. Times are ISO 8601, UTC.

CREATE TABLE endpoint (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  site TEXT NOT NULL,
  shard INTEGER NOT NULL,
  status TEXT NOT NULL,
  fault_code TEXT NOT NULL,
  hint TEXT NOT NULL,
  message TEXT NOT NULL,
  observed_at TEXT NOT NULL,
  epoch TEXT NOT NULL,
  seq INTEGER NOT NULL,
  duration_s REAL NOT NULL,
  score INTEGER NOT NULL,
  health TEXT NOT NULL,
  reasons TEXT NOT NULL,
  facts TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE alert (
  no INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  state TEXT NOT NULL,
  last_at TEXT NOT NULL,
  body TEXT NOT NULL
);
-- One live alert per condition, whatever is delivered twice.
CREATE UNIQUE INDEX alert_live ON alert (key) WHERE state IN ('pending', 'firing', 'acknowledged');
CREATE INDEX alert_endpoint ON alert (endpoint, last_at);

-- Notifications, written in the transaction that decided them; sent_at is empty until a channel took them.
CREATE TABLE outbox (
  id TEXT NOT NULL,
  channel TEXT NOT NULL,
  at TEXT NOT NULL,
  body TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  sent_at TEXT NOT NULL DEFAULT '',
  result TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (id, channel)
) WITHOUT ROWID;
CREATE INDEX outbox_open ON outbox (at) WHERE sent_at = '';
