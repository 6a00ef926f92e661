BEGIN TRANSACTION;
CREATE TABLE alert (
  no INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  state TEXT NOT NULL,
  last_at TEXT NOT NULL,
  body TEXT NOT NULL
);
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
INSERT INTO "endpoint" VALUES('srv-0','SRV-0','hq',0,'OK','','','','2026-03-01T12:10:00.000000+00:00','e0',10,0.25,100,'Healthy','[]','{}');
INSERT INTO "endpoint" VALUES('srv-1','SRV-1','hq',0,'OK','','','','2026-03-01T12:10:00.000000+00:00','e0',10,0.25,100,'Healthy','[]','{}');
INSERT INTO "endpoint" VALUES('srv-2','SRV-2','hq',0,'OK','','','','2026-03-01T12:10:00.000000+00:00','e0',10,0.25,100,'Healthy','[]','{}');
INSERT INTO "endpoint" VALUES('srv-3','SRV-3','hq',0,'OK','','','','2026-03-01T12:10:00.000000+00:00','e0',10,0.25,100,'Healthy','[]','{}');
INSERT INTO "endpoint" VALUES('srv-4','SRV-4','hq',0,'OK','','','','2026-03-01T12:10:00.000000+00:00','e0',10,0.25,100,'Healthy','[]','{}');
INSERT INTO "endpoint" VALUES('srv-5','SRV-5','hq',0,'OK','','','','2026-03-01T12:10:00.000000+00:00','e0',10,0.25,100,'Healthy','[]','{}');
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
CREATE UNIQUE INDEX alert_live ON alert (key) WHERE state IN ('pending', 'firing', 'acknowledged');
CREATE INDEX alert_endpoint ON alert (endpoint, last_at);
CREATE INDEX outbox_open ON outbox (at) WHERE sent_at = '';
PRAGMA user_version = 1;
COMMIT;
