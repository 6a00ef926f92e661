-- name: begin_course
INSERT INTO escalation (key, first_at, policy, body) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: put_course
UPDATE escalation SET closed_at = ?, body = ? WHERE key = ? AND first_at = ? AND policy = ?;

-- name: open_courses
SELECT body FROM escalation WHERE closed_at = '' ORDER BY key, first_at, policy;

-- name: courses_of
SELECT body FROM escalation WHERE ? IN ('', key) ORDER BY first_at DESC, key, policy LIMIT ?;

-- name: forget_steps
DELETE FROM escalation_step WHERE (key, first_at, policy) IN
  (SELECT key, first_at, policy FROM escalation WHERE closed_at != '' AND closed_at < ?);

-- name: forget_courses
DELETE FROM escalation WHERE closed_at != '' AND closed_at < ?;

-- name: add_step
INSERT INTO escalation_step (key, first_at, policy, repeat, step, body) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: steps
SELECT body FROM escalation_step WHERE key = ? AND first_at = ? AND policy = ? ORDER BY repeat, step;

-- name: add_override
INSERT INTO oncall_override (rota, until, body) VALUES (?, ?, ?) RETURNING no;

-- name: put_override
UPDATE oncall_override SET body = ? WHERE no = ?;

-- name: overrides
SELECT no, body FROM oncall_override WHERE until > ? ORDER BY no;

-- name: ended_alerts
SELECT body FROM alert WHERE endpoint = ? AND key = ? AND state NOT IN ('pending', 'firing', 'acknowledged')
ORDER BY no DESC LIMIT 10;
