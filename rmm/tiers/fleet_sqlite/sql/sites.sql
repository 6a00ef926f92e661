-- name: site_marks
SELECT site, epoch, at, body FROM site_mark WHERE site IN (SELECT value FROM json_each(?)) AND at >= ?
ORDER BY site, at, epoch;

-- name: site_marks_of
SELECT site, epoch, at, body FROM site_mark
WHERE site IN (SELECT value FROM json_each(?)) AND epoch IN (SELECT value FROM json_each(?)) ORDER BY site, at, epoch;

-- name: all_site_marks
SELECT site, epoch, at, body FROM site_mark WHERE at >= ? ORDER BY site, at, epoch;

-- name: put_site_mark
INSERT INTO site_mark (site, epoch, at, body) VALUES (?, ?, ?, ?)
ON CONFLICT (site, epoch) DO UPDATE SET at = excluded.at, body = excluded.body;

-- name: trim_site_marks
DELETE FROM site_mark WHERE site = ?
AND at < (SELECT at FROM site_mark WHERE site = ? ORDER BY at DESC LIMIT 1 OFFSET ?);

-- name: site_fences
SELECT site, shard, fence, since, collector FROM site_lease ORDER BY site, shard, fence;

-- name: put_site_fence
INSERT INTO site_lease (site, shard, fence, since, collector) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (site, shard, fence) DO UPDATE SET since = excluded.since, collector = excluded.collector;

-- name: drop_site_fence
DELETE FROM site_lease WHERE site = ? AND shard = ? AND fence = ?;

-- name: site_collectors
SELECT body FROM site_collector ORDER BY site, collector;

-- name: put_site_collector
INSERT INTO site_collector (site, collector, at, body) VALUES (?, ?, ?, ?)
ON CONFLICT (site, collector) DO UPDATE SET at = excluded.at, body = excluded.body;

-- name: drop_site_collector
DELETE FROM site_collector WHERE site = ? AND collector = ?;

-- name: site_refused
SELECT site, reason, at, number FROM site_refused ORDER BY site, reason;

-- name: add_site_refused
INSERT INTO site_refused (site, reason, at, number) VALUES (?, ?, ?, ?)
ON CONFLICT (site, reason) DO UPDATE SET at = excluded.at, number = site_refused.number + excluded.number;

-- name: restate_site
UPDATE endpoint SET status = ?, score = ?, health = ?, reasons = ? WHERE site = ?;
