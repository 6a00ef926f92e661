-- Samples that float64 does not hold (integers above 2^53): MessagePack {place in samples: value}; null for none.
ALTER TABLE observation ADD COLUMN exact BLOB;

-- A sealed hour of one endpoint's observations. place: endpoint number * 2^24 + hours since 1970.
-- data: a segment (rmm/tiers/cold_sqlite/segment.py) of the series that the layout names.
CREATE TABLE hour (
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

-- The newest observation that this file was given, also when its rows are sealed, merged or forgotten.
ALTER TABLE endpoint ADD COLUMN newest INTEGER NOT NULL DEFAULT 0;
UPDATE endpoint SET newest = coalesce((SELECT max(at) FROM observation WHERE endpoint = no), 0);
