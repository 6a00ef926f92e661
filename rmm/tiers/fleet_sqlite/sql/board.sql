-- What the live view and the metrics ask, in one pass over each table. Every answer is bounded.

-- name: endpoints
SELECT id, name, site, status, fault_code, observed_at, duration_s, score, health, reasons, facts FROM endpoint LIMIT ?;

-- name: alerts
SELECT no, state, body FROM alert WHERE state IN ('pending', 'firing', 'acknowledged') LIMIT ?;

-- name: waiting
SELECT channel, held != '', count(*), min(at), max(attempts) FROM outbox WHERE sent_at = '' GROUP BY channel, held != ''
LIMIT 1000;

-- name: refused
SELECT count(*) FROM refusal;
