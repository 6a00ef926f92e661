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
INSERT INTO alert (key, endpoint, state, last_at, incident, body) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key) WHERE state IN ('pending', 'firing', 'acknowledged')
DO UPDATE SET state = excluded.state, last_at = excluded.last_at, incident = excluded.incident, body = excluded.body;

-- name: end_alert
UPDATE alert SET state = ?, last_at = ?, body = ? WHERE key = ? AND state IN ('pending', 'firing', 'acknowledged');

-- name: drop_alert
DELETE FROM alert WHERE key = ? AND state = 'pending';

-- name: add_notification
INSERT INTO notification (id, at, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING;

-- name: outcomes
SELECT status, fault_code, count(*) FROM endpoint WHERE site = ? AND observed_at >= ? GROUP BY status, fault_code;

-- name: concerned
SELECT id, status, fault_code FROM endpoint WHERE site = ? AND observed_at >= ? AND fault_code != '';

-- name: reported
SELECT id, name, site, coalesce(facts ->> 'uuid', ''), coalesce(facts ->> 'computer_name', ''),
  coalesce(facts ->> 'installation', ''), coalesce(facts ->> 'machine_sid', '') FROM endpoint;

-- name: restate
UPDATE endpoint SET status = ?, score = ?, health = ?, reasons = ? WHERE id = ?;


-- name: endpoints
SELECT * FROM endpoint WHERE ? IN ('', site) ORDER BY score, name;

-- name: alerts
SELECT no, body FROM alert WHERE state IN (SELECT value FROM json_each(?)) AND ? IN ('', endpoint) ORDER BY last_at DESC, no DESC LIMIT ?;

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

-- name: put_incident
INSERT INTO incident (id, state, opened_at, last_at, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, last_at = excluded.last_at, body = excluded.body;

-- name: open_incidents
SELECT body FROM incident WHERE state = 'open';

-- name: incidents
SELECT body FROM incident WHERE id IN (SELECT value FROM json_each(?)) ORDER BY opened_at;

-- name: members
SELECT body FROM alert WHERE incident = ? ORDER BY key, no DESC LIMIT ?;

-- name: add_silence
INSERT INTO silence (ends_at, body) VALUES (?, ?) RETURNING no;

-- name: end_silence
UPDATE silence SET ends_at = ?, body = ? WHERE no = ?;

-- name: silences
SELECT no, body FROM silence WHERE ends_at > ? ORDER BY no;

-- name: add_suppressed
INSERT INTO suppressed (at, key, body) VALUES (?, ?, ?);

-- name: suppressed
SELECT body FROM suppressed WHERE ?1 IN ('', key) AND at >= ?2 ORDER BY at DESC, no DESC LIMIT ?3;

-- name: suppressed_of
SELECT body FROM suppressed WHERE key = ? AND at >= ? ORDER BY at, no LIMIT ?;

-- name: forget_suppressed
DELETE FROM suppressed WHERE at < ?;

-- name: add_act
INSERT INTO act (at, what, key, body) VALUES (?, ?, ?, ?);

-- name: acts_after
SELECT no, body FROM act WHERE no > ? ORDER BY no;

-- name: acts
SELECT no, body FROM act ORDER BY no DESC LIMIT ?;

-- name: acts_of
SELECT no, body FROM act WHERE key = ? AND at >= ? ORDER BY no LIMIT ?;

-- name: put_flap
INSERT INTO flap (key, body) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body;

-- name: drop_flap
DELETE FROM flap WHERE key = ?;

-- name: flaps
SELECT body FROM flap;

-- name: mark
SELECT no FROM mark WHERE name = ?;

-- name: set_mark
INSERT INTO mark (name, no) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET no = excluded.no;

-- name: archive_alerts
UPDATE alert SET state = 'archived', body = json_set(body, '$.state', 'archived')
WHERE state = 'resolved' AND last_at < ?;

-- name: alerts_by_number
SELECT no, body FROM alert WHERE no IN (SELECT value FROM json_each(?)) ORDER BY no;

-- name: told_of
SELECT id, channel, at, sent_at, attempts, result FROM outbox WHERE id >= ?1 || '@' AND id < ?1 || 'A' ORDER BY at, id, channel;

-- name: remembered
SELECT endpoint, body FROM remembered WHERE endpoint IN (SELECT value FROM json_each(?));

-- name: all_remembered
SELECT endpoint, body FROM remembered;

-- name: put_remembered
INSERT INTO remembered (endpoint, body) VALUES (?, ?) ON CONFLICT (endpoint) DO UPDATE SET body = excluded.body;

-- name: add_late
INSERT INTO late (endpoint, at, epoch, seq, arrived, body) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: late_endpoints
SELECT endpoint, (SELECT count(*) FROM late AS every WHERE every.endpoint = late.endpoint) FROM late
WHERE evaluated = 0 GROUP BY endpoint ORDER BY min(no) LIMIT ?;

-- name: late_of
SELECT no, body FROM late WHERE endpoint = ? ORDER BY at, epoch, seq;

-- name: late_evaluated
UPDATE late SET evaluated = 1 WHERE endpoint = ? AND evaluated = 0;

-- name: forget_late
DELETE FROM late WHERE evaluated = 1 AND arrived < ?;

-- name: bound_late
DELETE FROM late WHERE no IN (SELECT no FROM late WHERE endpoint = ? ORDER BY at DESC LIMIT -1 OFFSET ?);

-- name: alerts_since
SELECT no, body FROM alert WHERE endpoint = ? AND last_at >= ? AND state NOT IN ('pending', 'firing', 'acknowledged');

-- name: add_ended
INSERT INTO alert (key, endpoint, state, last_at, body) VALUES (?, ?, ?, ?, ?);

-- name: restate_ended
UPDATE alert SET last_at = ?, body = ? WHERE no = ?;

-- name: silent
SELECT id, name, site, coalesce(facts ->> 'os', '') FROM endpoint WHERE observed_at < ?;

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
