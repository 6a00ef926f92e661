-- name: add_endpoint
INSERT INTO endpoint (id) VALUES (?) ON CONFLICT (id) DO NOTHING;

-- name: endpoints
SELECT id, no FROM endpoint;

-- name: newest_observations
SELECT id, (SELECT max(at) FROM observation WHERE endpoint = no) FROM endpoint;

-- name: endpoint_no
SELECT no FROM endpoint WHERE id = ?;

-- name: add_layout
INSERT INTO layout (digest, series, used) VALUES (?, ?, ?)
ON CONFLICT (digest) DO UPDATE SET used = max(used, excluded.used);

-- name: layout_no
SELECT no FROM layout WHERE digest = ?;

-- name: layout_series
SELECT no, series FROM layout WHERE no IN (SELECT DISTINCT layout FROM observation WHERE endpoint = ? AND at BETWEEN ? AND ?);

-- name: add_observation
INSERT INTO observation (endpoint, at, epoch, seq, status, fault, duration_ms, layout, samples)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: observations
SELECT at, layout, samples FROM observation WHERE endpoint = ? AND at BETWEEN ? AND ? ORDER BY at, epoch, seq;

-- name: observed_after
SELECT min(at) FROM observation WHERE endpoint = ? AND at > ?;

-- name: statuses
SELECT at, status, fault, duration_ms FROM observation WHERE endpoint = ? AND at BETWEEN ? AND ? ORDER BY at, epoch, seq;

-- name: add_change
INSERT INTO change (endpoint, collector, at, whole, value) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: put_change
INSERT INTO change (endpoint, collector, at, whole, value) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (endpoint, collector, at) DO UPDATE SET whole = excluded.whole, value = excluded.value;

-- name: changes_back
SELECT at, whole, value FROM change WHERE endpoint = ?1 AND collector = ?2 AND at <= ?3
AND at >= coalesce((SELECT max(at) FROM change WHERE endpoint = ?1 AND collector = ?2 AND at <= ?3 AND whole), 0)
ORDER BY at;

-- name: change_after
SELECT at, whole, value FROM change WHERE endpoint = ? AND collector = ? AND at > ? ORDER BY at LIMIT 1;

-- name: changes
SELECT collector, at, whole, value FROM change WHERE endpoint = ? AND at <= ? ORDER BY at, collector;

-- name: changed
SELECT DISTINCT e.id, c.collector FROM change AS c JOIN endpoint AS e ON e.no = c.endpoint WHERE c.at BETWEEN ? AND ?;

-- name: old_changes
SELECT endpoint, collector, max(at) FROM change WHERE at < ? GROUP BY endpoint, collector HAVING count(*) > 1 LIMIT ?;

-- name: forget_changes
DELETE FROM change WHERE endpoint = ? AND collector = ? AND at < ?;

-- name: forget_observations
-- The table is ordered by endpoint: CROSS JOIN keeps this order of loops, so each endpoint costs one seek.
DELETE FROM observation WHERE (endpoint, at, epoch, seq) IN
  (SELECT o.endpoint, o.at, o.epoch, o.seq FROM endpoint AS e CROSS JOIN observation AS o ON o.endpoint = e.no
   WHERE o.at < ? LIMIT ?);

-- name: forget_layouts
DELETE FROM layout WHERE used < ?;
