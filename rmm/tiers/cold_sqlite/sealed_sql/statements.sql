-- name: add_endpoint
INSERT INTO endpoint (id) VALUES (?) ON CONFLICT (id) DO NOTHING;

-- name: endpoint_no
SELECT no FROM endpoint WHERE id = ?;

-- name: add_layout
-- Names that were damaged are put right by the first segment that has the same.
INSERT INTO layout (digest, series) VALUES (?, ?)
ON CONFLICT (digest) DO UPDATE SET series = excluded.series WHERE series IS NOT excluded.series;

-- name: layout_no
SELECT no FROM layout WHERE digest = ?;

-- name: put_segment
INSERT INTO segment (place, layout, data) VALUES (?, ?, ?)
ON CONFLICT (place) DO UPDATE SET layout = excluded.layout, data = excluded.data;

-- name: segment
-- Names as bytes, here and below: text that is damaged does not decode, and is SQLite's error then.
SELECT l.digest, CAST(l.series AS BLOB), s.data FROM segment AS s LEFT JOIN layout AS l ON l.no = s.layout
WHERE s.place = ?;

-- name: segments
SELECT s.place, s.layout, CAST(l.series AS BLOB), s.data FROM segment AS s LEFT JOIN layout AS l ON l.no = s.layout
WHERE s.place BETWEEN ? AND ? ORDER BY s.place;

-- name: segments_of
SELECT s.place, CAST(l.series AS BLOB), s.data FROM endpoint AS e
CROSS JOIN segment AS s ON s.place BETWEEN e.no * 16777216 + ?2 AND e.no * 16777216 + ?3
LEFT JOIN layout AS l ON l.no = s.layout WHERE e.id = ?1 ORDER BY s.place;

-- name: set_aside
INSERT INTO damaged (place, layout, data, why) SELECT place, layout, data, ?2 FROM segment WHERE place = ?1;

-- name: drop_segment
DELETE FROM segment WHERE place = ?;

-- name: aside
-- Segments that were kept aside or are of nobody, of a span of time.
SELECT (SELECT count(*) FROM damaged WHERE place % 16777216 BETWEEN ?1 AND ?2)
  + (SELECT count(*) FROM segment WHERE place % 16777216 BETWEEN ?1 AND ?2 AND place / 16777216 NOT IN (SELECT no FROM endpoint));

-- name: ids
SELECT id FROM endpoint ORDER BY id;

-- name: whole
-- Everything, in an order that does not depend on numbers; what is damaged may be of nobody, or have no names.
SELECT s.place % 16777216, CAST(e.id AS BLOB), CAST(l.series AS BLOB), s.data FROM segment AS s
LEFT JOIN layout AS l ON l.no = s.layout LEFT JOIN endpoint AS e ON e.no = s.place / 16777216 ORDER BY e.id, s.place;

-- name: everyones_segments
SELECT e.id, CAST(l.series AS BLOB), s.data FROM segment AS s JOIN endpoint AS e ON e.no = s.place / 16777216
LEFT JOIN layout AS l ON l.no = s.layout WHERE s.place % 16777216 BETWEEN ? AND ?;

-- name: numbers
SELECT id, no FROM endpoint;

-- name: segments_at
SELECT e.id, CAST(l.series AS BLOB), s.data FROM json_each(?) AS wanted JOIN segment AS s ON s.place = wanted.value
JOIN endpoint AS e ON e.no = s.place / 16777216 LEFT JOIN layout AS l ON l.no = s.layout;
