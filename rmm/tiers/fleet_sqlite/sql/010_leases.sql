-- The leases under which something of a shard was observed: by whom, and the earliest time of that. Of those before the
-- newest too, because what was written under an older one may come last.
CREATE TABLE site_lease (
  site TEXT NOT NULL,
  shard INTEGER NOT NULL,
  fence INTEGER NOT NULL,
  collector TEXT NOT NULL,
  since TEXT NOT NULL,
  PRIMARY KEY (site, shard, fence)
) WITHOUT ROWID;

INSERT INTO site_lease (site, shard, fence, collector, since)
SELECT site, shard, fence, '', since FROM site_fence;

DROP TABLE site_fence;
