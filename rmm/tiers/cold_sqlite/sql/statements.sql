-- name: add_endpoint
INSERT INTO endpoint (id) VALUES (?) ON CONFLICT (id) DO NOTHING;

-- name: endpoints
SELECT id, no FROM endpoint;

-- name: newest_observations
SELECT id, newest FROM endpoint;

-- name: note_newest
UPDATE endpoint SET newest = max(newest, ?) WHERE no = ?;

-- name: id_of
SELECT id FROM endpoint WHERE no = ?;

-- name: endpoint_no
SELECT no FROM endpoint WHERE id = ?;

-- name: add_layout
-- Names that were damaged are put right by the first observation that has the same.
INSERT INTO layout (digest, series, used) VALUES (?, ?, ?)
ON CONFLICT (digest) DO UPDATE SET used = max(used, excluded.used), series = excluded.series;

-- name: layout_no
SELECT no FROM layout WHERE digest = ?;

-- name: layout_series
-- Names as bytes, here and below: text that is damaged does not decode, and is SQLite's error then.
SELECT no, CAST(series AS BLOB) FROM layout WHERE no IN (SELECT DISTINCT layout FROM observation WHERE endpoint = ? AND at BETWEEN ? AND ?);

-- name: add_observation
INSERT INTO observation (endpoint, at, epoch, seq, status, fault, duration_ms, layout, samples, exact)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: observations
SELECT at, layout, samples, exact FROM observation WHERE endpoint = ? AND at BETWEEN ? AND ? ORDER BY at, epoch, seq;

-- name: observations_1
-- Of a file of the first schema, which no writer has opened yet.
SELECT at, layout, samples, NULL FROM observation WHERE endpoint = ? AND at BETWEEN ? AND ? ORDER BY at, epoch, seq;

-- name: rows_after
SELECT o.at, CAST(l.series AS BLOB) FROM observation AS o LEFT JOIN layout AS l ON l.no = o.layout
WHERE o.endpoint = ? AND o.at > ? ORDER BY o.at;

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

-- name: forget_hours
DELETE FROM hour WHERE place % 16777216 < ?;

-- name: forget_layouts
DELETE FROM layout WHERE used < ?;

-- name: oldest
-- Of each endpoint the oldest observation that is still a row.
SELECT e.no, (SELECT min(o.at) FROM observation AS o WHERE o.endpoint = e.no) FROM endpoint AS e;

-- name: hour_rows
SELECT o.at, o.epoch, o.seq, o.status, o.fault, o.duration_ms, o.layout, o.samples, o.exact
FROM observation AS o WHERE o.endpoint = ? AND o.at >= ? AND o.at < ? ORDER BY o.at, o.epoch, o.seq;

-- name: drop_hour_rows
DELETE FROM observation WHERE endpoint = ? AND at >= ? AND at < ?;

-- name: layout_of
SELECT digest, CAST(series AS BLOB) FROM layout WHERE no = ?;

-- name: hours
SELECT h.place, h.layout, CAST(l.series AS BLOB), h.data FROM hour AS h LEFT JOIN layout AS l ON l.no = h.layout
WHERE h.place BETWEEN ? AND ? ORDER BY h.place;

-- name: hour
SELECT l.digest, CAST(l.series AS BLOB), h.data FROM hour AS h LEFT JOIN layout AS l ON l.no = h.layout WHERE h.place = ?;

-- name: oldest_hours
SELECT e.no, e.id, (SELECT min(h.place) FROM hour AS h WHERE h.place BETWEEN e.no * 16777216 AND e.no * 16777216 + 16777215)
FROM endpoint AS e;

-- name: put_hour
INSERT INTO hour (place, layout, data) VALUES (?, ?, ?)
ON CONFLICT (place) DO UPDATE SET layout = excluded.layout, data = excluded.data;

-- name: drop_hours
DELETE FROM hour WHERE place BETWEEN ? AND ?;

-- name: set_hour_aside
INSERT INTO damaged (place, layout, data, why) SELECT place, layout, data, ?2 FROM hour WHERE place = ?1;

-- name: set_samples_aside
INSERT INTO damaged (place, layout, data, why)
SELECT endpoint * 16777216 + at / 3600000000, layout, samples, ?5 FROM observation
WHERE endpoint = ?1 AND at >= ?2 AND at < ?3 AND layout = ?4;

-- name: aside
-- Segments that were kept aside, of a span of time.
SELECT count(*) FROM damaged WHERE place % 16777216 BETWEEN ? AND ?;

-- name: ids
SELECT id FROM endpoint ORDER BY id;

-- name: day_rows
SELECT o.at, o.epoch, o.seq, o.status, o.fault, o.duration_ms, o.layout, o.samples, o.exact, CAST(l.series AS BLOB)
FROM observation AS o LEFT JOIN layout AS l ON l.no = o.layout
WHERE o.endpoint = ? AND o.at BETWEEN ? AND ? ORDER BY o.at, o.epoch, o.seq;

-- name: range_of_rows
SELECT min(at), max(at) FROM observation;

-- name: range_of_hours
SELECT min(place % 16777216), max(place % 16777216) FROM hour;

-- name: everyones_rows
SELECT e.id, CAST(l.series AS BLOB), o.at, o.samples, o.exact
FROM endpoint AS e CROSS JOIN observation AS o ON o.endpoint = e.no LEFT JOIN layout AS l ON l.no = o.layout WHERE o.at BETWEEN ? AND ?;

-- name: everyones_hours
SELECT e.id, CAST(l.series AS BLOB), h.data FROM hour AS h JOIN endpoint AS e ON e.no = h.place / 16777216
LEFT JOIN layout AS l ON l.no = h.layout WHERE h.place % 16777216 BETWEEN ? AND ?;

-- name: everyones_statuses
SELECT e.id, o.at, o.status FROM endpoint AS e CROSS JOIN observation AS o ON o.endpoint = e.no
WHERE o.at BETWEEN ? AND ?;
