-- A file of merged history: days of samples (raw-*), or rollups by hour (hourly-*) or by day (daily).

CREATE TABLE endpoint (
  no INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE
);

-- Which series a segment has, in order: JSON [[collector, row key, field], ...].
CREATE TABLE layout (
  no INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  series TEXT NOT NULL
);

-- place: endpoint number * 2^24 + what the file's kind counts: days, weeks or months since 1970.
CREATE TABLE segment (
  place INTEGER PRIMARY KEY,
  layout INTEGER NOT NULL,
  data BLOB NOT NULL
);

-- Segments that could not be read, as they were found.
CREATE TABLE damaged (
  place INTEGER NOT NULL,
  layout INTEGER NOT NULL,
  data BLOB NOT NULL,
  why TEXT NOT NULL
);
