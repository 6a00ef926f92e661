-- The health of each endpoint, a row for each day of UTC on which it was observed: as the last round left it, and the
-- lowest score of the day. Kept for as many days as `rmm/tiers/fleet_sqlite/writer.py` says.
CREATE TABLE health_day (
  day TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  score INTEGER NOT NULL,
  lowest INTEGER NOT NULL,
  status TEXT NOT NULL,
  PRIMARY KEY (day, endpoint)
) WITHOUT ROWID;
