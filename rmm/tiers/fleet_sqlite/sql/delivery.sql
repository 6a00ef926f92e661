-- What stages and delivery ask; the tables are those of 005_delivery.sql.

-- name: fresh
SELECT body FROM notification WHERE outcome = '' AND held = '' ORDER BY at, id LIMIT ?;

-- name: soonest
SELECT min(due_at) FROM waiting;

-- name: concerned_waiting
SELECT w.body, n.body FROM waiting w JOIN notification n ON n.id = w.id
WHERE w.alert IN (SELECT value FROM json_each(?2))
   OR EXISTS (SELECT 1 FROM waiting d WHERE d.due_at <= ?1 AND d.channel = w.channel AND d.grp = w.grp)
   OR EXISTS (SELECT 1 FROM json_each(?3) u WHERE u.value ->> 0 = w.channel AND u.value ->> 1 = w.grp)
ORDER BY n.at, n.id;

-- name: concerned_heard
SELECT body FROM heard WHERE alert IN (SELECT value FROM json_each(?));

-- name: stale_heard
SELECT body FROM heard WHERE route = ? AND at <= ? LIMIT 5000;

-- name: flushed
SELECT channel, grp, at FROM flushed;

-- name: alerts_by_subject
SELECT coalesce(nullif(body ->> '$.incident', ''), key) AS subject, body FROM alert
WHERE state IN ('firing', 'acknowledged') AND subject IN (SELECT value FROM json_each(?)) ORDER BY key;

-- name: outcome
UPDATE notification SET outcome = ? WHERE id = ?;

-- name: put_waiting
INSERT INTO waiting (channel, id, grp, alert, due_at, body) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (channel, id) DO UPDATE SET due_at = excluded.due_at, body = excluded.body;

-- name: end_waiting
DELETE FROM waiting WHERE channel = ? AND id = ?;

-- name: put_heard
INSERT INTO heard (alert, channel, route, at, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (alert, channel) DO UPDATE SET route = excluded.route, at = excluded.at, body = excluded.body;

-- name: hear
INSERT INTO heard (alert, channel, route, at, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: end_heard
DELETE FROM heard WHERE alert = ? AND channel = ?;

-- name: put_flushed
INSERT INTO flushed (channel, grp, at) VALUES (?, ?, ?) ON CONFLICT (channel, grp) DO UPDATE SET at = excluded.at;

-- name: post
INSERT INTO outbox (id, channel, at, body) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: open_notifications
SELECT body, attempts FROM outbox
WHERE sent_at = '' AND gave_up = '' AND channel = ?1 AND due_at <= ?2 ORDER BY attempts / 20, at, id LIMIT ?3;

-- name: sent
UPDATE outbox SET sent_at = ?, result = ?, attempts = attempts + 1 WHERE id = ? AND channel = ?;

-- name: not_sent
UPDATE outbox SET due_at = ?, result = ?, attempts = attempts + 1 WHERE id = ? AND channel = ?;

-- name: put_channel
INSERT INTO channel (name, failures, not_before, at, result) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET failures = excluded.failures, not_before = excluded.not_before, at = excluded.at,
  result = excluded.result;

-- name: channels
SELECT name, failures, not_before, at, result FROM channel;

-- name: open_counts
SELECT channel, count(*) FROM outbox WHERE sent_at = '' AND gave_up = '' GROUP BY channel;

-- name: fared
SELECT channel, count(*) FILTER (WHERE sent_at = '' AND gave_up = ''),
  coalesce(min(at) FILTER (WHERE sent_at = '' AND gave_up = ''), ''), max(sent_at)
FROM outbox GROUP BY channel;

-- name: give_up_old
UPDATE outbox SET gave_up = ?1, result = 'given up: ' ||
  coalesce(nullif(result, ''), (SELECT c.result FROM channel c WHERE c.name = outbox.channel), 'never tried')
WHERE sent_at = '' AND gave_up = '' AND at <= ?2
RETURNING channel;

-- name: give_up_most
UPDATE outbox SET gave_up = ?1, result = 'given up, the queue is full: ' || result
WHERE sent_at = '' AND gave_up = '' AND channel = ?2 AND id IN (
  SELECT id FROM outbox WHERE sent_at = '' AND gave_up = '' AND channel = ?2 ORDER BY at DESC, id DESC LIMIT -1 OFFSET ?3)
RETURNING channel;

-- name: try_again
UPDATE outbox SET due_at = '', gave_up = '' WHERE sent_at = '' AND (?1 = '' OR channel = ?1) RETURNING channel;

-- name: free_channels
UPDATE channel SET not_before = '' WHERE ?1 = '' OR name = ?1;

-- name: forget_outbox
DELETE FROM outbox WHERE at <= ? AND (sent_at != '' OR gave_up != '');

-- name: forget_notifications
DELETE FROM notification WHERE at <= ? AND outcome != '' AND held = ''
AND NOT EXISTS (SELECT 1 FROM waiting WHERE waiting.id = notification.id);

-- name: forget_flushed
DELETE FROM flushed WHERE at <= ?;

-- name: notifications
SELECT id, channel, at, sent_at, attempts, result, gave_up, due_at, body FROM outbox ORDER BY at DESC, id LIMIT ?;

-- name: decisions
SELECT id, at, held, outcome, body FROM notification ORDER BY at DESC, id LIMIT ?;
