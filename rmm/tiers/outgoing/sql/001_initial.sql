-- What a site collector keeps for the hub. A place is the number of an epoch * 2^40 + the number in the epoch.

CREATE TABLE entry (
  place INTEGER PRIMARY KEY,
  count INTEGER NOT NULL,
  size INTEGER NOT NULL,
  at INTEGER NOT NULL, -- microseconds since 1970
  grade INTEGER NOT NULL,
  kind TEXT NOT NULL,
  shard INTEGER NOT NULL,
  fence INTEGER NOT NULL,
  raw INTEGER NOT NULL, -- bytes of the body before it was compressed
  id BLOB UNIQUE, -- digest of what it is known by
  body BLOB NOT NULL
);
CREATE INDEX graded ON entry (place) WHERE grade > 0;

CREATE TABLE newest (
  endpoint TEXT PRIMARY KEY,
  place INTEGER NOT NULL
) WITHOUT ROWID;

-- How far the hub had everything, hour by hour: JSON, number of the epoch -> number.
CREATE TABLE covered (
  at INTEGER PRIMARY KEY,
  highs TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE books (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  body BLOB NOT NULL
);
