-- What is committed of what sites have sent, by epoch: JSON of `rmm.model.envelope.Marks`. `at` is when it last grew.
CREATE TABLE site_mark (
  site TEXT NOT NULL,
  epoch TEXT NOT NULL,
  at TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (site, epoch)
) WITHOUT ROWID;

-- The highest revision of a shard's lease under which something was observed, and the earliest time of that.
CREATE TABLE site_fence (
  site TEXT NOT NULL,
  shard INTEGER NOT NULL,
  fence INTEGER NOT NULL,
  since TEXT NOT NULL,
  PRIMARY KEY (site, shard)
) WITHOUT ROWID;

-- What was last heard of each collector: JSON of `rmm.model.sites.Contact`.
CREATE TABLE site_collector (
  site TEXT NOT NULL,
  collector TEXT NOT NULL,
  at TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (site, collector)
) WITHOUT ROWID;

-- How much of each site was refused, and why.
CREATE TABLE site_refused (
  site TEXT NOT NULL,
  reason TEXT NOT NULL,
  at TEXT NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (site, reason)
) WITHOUT ROWID;
