-- name: add_endpoint
INSERT INTO endpoint (id) VALUES (?) ON CONFLICT (id) DO NOTHING;

-- name: endpoint_no
SELECT no FROM endpoint WHERE id = ?;

-- name: add_layout
INSERT INTO layout (digest, series) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING;

-- name: layout_no
SELECT no FROM layout WHERE digest = ?;

-- name: put_segment
INSERT INTO segment (place, layout, data) VALUES (?, ?, ?)
ON CONFLICT (place) DO UPDATE SET layout = excluded.layout, data = excluded.data;

-- name: segment
SELECT s.place, l.series, s.data FROM segment AS s JOIN layout AS l ON l.no = s.layout WHERE s.place = ?;

-- name: segments
SELECT s.place, l.no, l.series, s.data FROM segment AS s JOIN layout AS l ON l.no = s.layout
WHERE s.place BETWEEN ? AND ? ORDER BY s.place;

-- name: segments_of
SELECT s.place, l.series, s.data FROM endpoint AS e
CROSS JOIN segment AS s ON s.place BETWEEN e.no * 16777216 + ?2 AND e.no * 16777216 + ?3
JOIN layout AS l ON l.no = s.layout WHERE e.id = ?1 ORDER BY s.place;

-- name: set_aside
INSERT INTO damaged (place, layout, data, why) SELECT place, layout, data, ?2 FROM segment WHERE place = ?1;

-- name: drop_segment
DELETE FROM segment WHERE place = ?;

-- name: ids
SELECT id FROM endpoint ORDER BY id;

-- name: everyones_segments
SELECT e.id, l.series, s.data FROM segment AS s JOIN endpoint AS e ON e.no = s.place / 16777216
JOIN layout AS l ON l.no = s.layout WHERE s.place % 16777216 BETWEEN ? AND ?;
