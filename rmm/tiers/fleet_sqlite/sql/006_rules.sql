-- What rules remember of an endpoint between observations: MessagePack, bounded (rmm/core/measures.py).
CREATE TABLE remembered (
  endpoint TEXT PRIMARY KEY,
  body BLOB NOT NULL
);

-- Observations that came late, with what rules look at alone (rmm/core/alerting/late.py), for some days.
CREATE TABLE late (
  no INTEGER PRIMARY KEY,
  endpoint TEXT NOT NULL,
  at TEXT NOT NULL,
  epoch TEXT NOT NULL,
  seq INTEGER NOT NULL,
  arrived TEXT NOT NULL,
  evaluated INTEGER NOT NULL DEFAULT 0,
  body BLOB NOT NULL
);
CREATE UNIQUE INDEX late_once ON late (endpoint, at, epoch, seq);
CREATE INDEX late_open ON late (endpoint) WHERE evaluated = 0;
