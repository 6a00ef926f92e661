-- name: put_endpoint
INSERT INTO endpoint (id, name, site, shard, status, fault_code, hint, message, observed_at, epoch, seq, duration_s, score, health, reasons, facts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, site = excluded.site, shard = excluded.shard, status = excluded.status,
  fault_code = excluded.fault_code, hint = excluded.hint, message = excluded.message, observed_at = excluded.observed_at,
  epoch = excluded.epoch, seq = excluded.seq, duration_s = excluded.duration_s, score = excluded.score,
  health = excluded.health, reasons = excluded.reasons, facts = excluded.facts;

-- name: stamps
SELECT id, observed_at, epoch, seq, facts FROM endpoint WHERE id IN (SELECT value FROM json_each(?));

-- name: live_alerts
SELECT body FROM alert WHERE state IN ('pending', 'firing', 'acknowledged');

-- name: put_alert
INSERT INTO alert (key, endpoint, state, last_at, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) WHERE state IN ('pending', 'firing', 'acknowledged')
DO UPDATE SET state = excluded.state, last_at = excluded.last_at, body = excluded.body;

-- name: end_alert
UPDATE alert SET state = ?, last_at = ?, body = ? WHERE key = ? AND state IN ('pending', 'firing', 'acknowledged');

-- name: drop_alert
DELETE FROM alert WHERE key = ? AND state = 'pending';

-- name: add_notification
INSERT INTO outbox (id, channel, at, body, held) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: outcomes
SELECT status, fault_code, count(*) FROM endpoint WHERE site = ? AND observed_at >= ? GROUP BY status, fault_code;

-- name: concerned
SELECT id, status, fault_code FROM endpoint WHERE site = ? AND observed_at >= ? AND fault_code != '';

-- name: reported
SELECT id, name, site, coalesce(facts ->> 'uuid', ''), coalesce(facts ->> 'computer_name', ''),
  coalesce(facts ->> 'installation', ''), coalesce(facts ->> 'machine_sid', '') FROM endpoint;

-- name: restate
UPDATE endpoint SET status = ? WHERE id = ?;

-- name: held
SELECT body FROM outbox WHERE held = ? AND sent_at = '' GROUP BY id ORDER BY at, id;

-- name: told
SELECT count(*) FROM outbox WHERE held = '' AND id >= ? AND id < ?;

-- name: release
UPDATE outbox SET held = '' WHERE held = ?;

-- name: discard
DELETE FROM outbox WHERE id = ? AND held != '';

-- name: open_notifications
SELECT body FROM outbox WHERE sent_at = '' AND held = '' AND channel = ? AND at > ? ORDER BY attempts / 20, at LIMIT ?;

-- name: sent
UPDATE outbox SET sent_at = ?, result = ?, attempts = attempts + 1 WHERE id = ? AND channel = ?;

-- name: not_sent
UPDATE outbox SET result = ?, attempts = attempts + 1 WHERE id = ? AND channel = ?;

-- name: endpoints
SELECT * FROM endpoint WHERE ? IN ('', site) ORDER BY score, name;

-- name: alerts
SELECT no, body FROM alert WHERE state IN (SELECT value FROM json_each(?)) AND ? IN ('', endpoint) ORDER BY last_at DESC, no DESC LIMIT ?;

-- name: notifications
SELECT id, channel, at, sent_at, attempts, result FROM outbox ORDER BY at DESC LIMIT ?;

-- name: put_refusal
INSERT INTO refusal (endpoint, since, at, body) VALUES (?1, ?2, ?2, ?3)
ON CONFLICT (endpoint) DO UPDATE SET at = excluded.at, body = excluded.body;

-- name: end_refusal
DELETE FROM refusal WHERE endpoint = ?;

-- name: refusals
SELECT endpoint, since, at, body FROM refusal ORDER BY since, endpoint;

-- name: add_acceptance
INSERT INTO acceptance (endpoint, at, body) VALUES (?, ?, ?);

-- name: acceptances
SELECT body FROM acceptance WHERE at >= ? ORDER BY no;

-- name: keep_health
INSERT INTO health_day (day, endpoint, score, lowest, status)
SELECT substr(observed_at, 1, 10), id, score, score, health FROM endpoint
WHERE observed_at >= ?1 AND observed_at < ?2 AND health != 'Unknown'
ON CONFLICT (day, endpoint) DO UPDATE SET score = excluded.score, lowest = min(lowest, excluded.lowest),
  status = excluded.status;

-- name: forget_health
DELETE FROM health_day WHERE day < ?;

-- name: health_days
SELECT day, endpoint, score, lowest, status FROM health_day WHERE day BETWEEN ? AND ? ORDER BY day;
