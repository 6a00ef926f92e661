-- Times are microseconds since 1970, UTC.

CREATE TABLE endpoint (
  no INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE
);

-- Which series the packed samples of an observation are, in order: JSON [[collector, row key, field], ...].
CREATE TABLE layout (
  no INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  series TEXT NOT NULL
);

-- One row per observation; samples are little-endian float64, NaN where a field was null.
CREATE TABLE observation (
  endpoint INTEGER NOT NULL,
  at INTEGER NOT NULL,
  epoch TEXT NOT NULL,
  seq INTEGER NOT NULL,
  status TEXT NOT NULL,
  fault TEXT NOT NULL,
  duration_ms REAL NOT NULL,
  layout INTEGER NOT NULL,
  samples BLOB NOT NULL,
  PRIMARY KEY (endpoint, at, epoch, seq)
) WITHOUT ROWID;

-- Text, states, booleans and times: a row where the value differs from the one before. value is JSON; an absent row
-- (a service that was removed) has the field '' and the value 'null'.
CREATE TABLE change (
  endpoint INTEGER NOT NULL,
  collector TEXT NOT NULL,
  key TEXT NOT NULL,
  field TEXT NOT NULL,
  at INTEGER NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (endpoint, collector, key, field, at)
) WITHOUT ROWID;
