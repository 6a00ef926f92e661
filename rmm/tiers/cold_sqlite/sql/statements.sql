-- name: add_endpoint
INSERT INTO endpoint (id) VALUES (?) ON CONFLICT (id) DO NOTHING;

-- name: endpoints
SELECT id, no FROM endpoint;

-- name: endpoint_no
SELECT no FROM endpoint WHERE id = ?;

-- name: add_layout
INSERT INTO layout (digest, series) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING;

-- name: layouts
SELECT digest, no FROM layout;

-- name: layout_series
SELECT no, series FROM layout WHERE no IN (SELECT DISTINCT layout FROM observation WHERE endpoint = ? AND at BETWEEN ? AND ?);

-- name: add_observation
INSERT INTO observation (endpoint, at, epoch, seq, status, fault, duration_ms, layout, samples)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: observations
SELECT at, layout, samples FROM observation WHERE endpoint = ? AND at BETWEEN ? AND ? ORDER BY at, epoch, seq;

-- name: statuses
SELECT at, status, fault, duration_ms FROM observation WHERE endpoint = ? AND at BETWEEN ? AND ? ORDER BY at, epoch, seq;

-- name: latest_changes
SELECT key, field, value, max(at) FROM change WHERE endpoint = ? AND collector = ? AND at <= ? GROUP BY key, field;

-- name: add_change
INSERT INTO change (endpoint, collector, key, field, at, value) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: changes
SELECT collector, key, field, at, value FROM change WHERE endpoint = ? AND at BETWEEN ? AND ? ORDER BY at, collector, key, field;

-- name: field_changes
SELECT at, value FROM change WHERE endpoint = ? AND collector = ? AND key = ? AND field = ? AND at BETWEEN ? AND ? ORDER BY at;

-- name: expire_observations
DELETE FROM observation WHERE (endpoint, at, epoch, seq) IN
  (SELECT endpoint, at, epoch, seq FROM observation WHERE at < ? LIMIT ?);
