-- What the live view and the metrics ask, in one pass over each table. Every answer is bounded.

-- name: endpoints
SELECT id, name, site, status, fault_code, observed_at, duration_s, score, health, reasons, facts FROM endpoint LIMIT ?;

-- name: alerts
SELECT no, state, body FROM alert WHERE state IN ('pending', 'firing', 'acknowledged') LIMIT ?;

-- name: waiting
SELECT channel, 0, count(*), min(at), max(attempts) FROM outbox WHERE sent_at = '' AND gave_up = '' GROUP BY channel
UNION ALL SELECT channel, 1, count(*), min(body ->> '$.at'), 0 FROM waiting GROUP BY channel
LIMIT 1000;

-- name: refused
SELECT count(*) FROM refusal;
