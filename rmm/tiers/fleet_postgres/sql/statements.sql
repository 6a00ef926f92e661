-- Statements that are not the file's with other words: see rmm/tiers/fleet_postgres/dialect.py.

-- name: concerned_waiting
SELECT w.body, n.body FROM waiting w JOIN notification n ON n.id = w.id
WHERE w.alert = ANY($2::text[])
   OR EXISTS (SELECT 1 FROM waiting d WHERE d.due_at <= $1 AND d.channel = w.channel AND d.grp = w.grp)
   OR (w.channel, w.grp) IN (
     SELECT ($3::text[])[i][1], ($3::text[])[i][2] FROM generate_subscripts($3::text[], 1) AS i)
ORDER BY n.at, n.id;

-- name: alerts_by_subject
SELECT subject, body FROM (
  SELECT coalesce(nullif(body::json ->> 'incident', ''), key) AS subject, key, body FROM alert
  WHERE state IN ('firing', 'acknowledged')) AS live
WHERE subject = ANY($1::text[]) ORDER BY key;

-- name: archive_alerts
UPDATE alert SET state = 'archived', body = jsonb_set(body::jsonb, '{state}', '"archived"')::text
WHERE state = 'resolved' AND last_at < $1;

-- name: alerts_by_number
SELECT no, body FROM alert WHERE no = ANY($1::bigint[]) ORDER BY no;

-- name: told_of
SELECT id, channel, at, sent_at, attempts, result FROM outbox
WHERE id >= $1::text || '@' AND id < $1::text || 'A' ORDER BY at, id, channel;

-- name: keep_health
INSERT INTO health_day (day, endpoint, score, lowest, status)
SELECT substr(observed_at, 1, 10), id, score, score, health FROM endpoint
WHERE observed_at >= $1 AND observed_at < $2 AND health != 'Unknown'
ON CONFLICT (day, endpoint) DO UPDATE SET score = excluded.score,
  lowest = least(health_day.lowest, excluded.lowest), status = excluded.status;
