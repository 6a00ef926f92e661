-- Times are microseconds since 1970, UTC.

CREATE TABLE endpoint (
  no INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE
);

-- Which series the packed samples of an observation are, in order: JSON [[collector, row key, field], ...].
CREATE TABLE layout (
  no INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  series TEXT NOT NULL,
  used INTEGER NOT NULL  -- at most a day before its newest observation
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

-- Text, states, booleans and times of one collector: a row where something differs from the row before.
-- value: JSON {row key: {field: value}}, null for a row that is gone; see rmm/tiers/cold_sqlite/changes.py for its form.
-- whole = 1: everything that is known at this time, so nothing older is needed to read on from here.
-- An ordinary table with an index: large values in a WITHOUT ROWID table make it several times larger.
CREATE TABLE change (
  endpoint INTEGER NOT NULL,
  collector TEXT NOT NULL,
  at INTEGER NOT NULL,
  whole INTEGER NOT NULL,
  value BLOB NOT NULL
);
CREATE UNIQUE INDEX change_by_time ON change (endpoint, collector, at);
