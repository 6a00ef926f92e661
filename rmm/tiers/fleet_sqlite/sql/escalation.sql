-- name: begin_course
INSERT INTO escalation (key, first_at, policy, fired_at, due_at, body) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: put_course
UPDATE escalation SET fired_at = ?, due_at = ?, ended = ?, closed_at = ?, body = ? WHERE key = ? AND first_at = ? AND policy = ?;

-- name: courses_to_see
SELECT body FROM escalation e WHERE closed_at = '' AND CASE ended
  WHEN '' THEN due_at <= ?1 OR fired_at > ?1 OR NOT EXISTS (
      SELECT 1 FROM alert a
      WHERE a.state = 'firing' AND (a.incident = e.key AND a.incident != '' OR a.key = e.key)
    ) AND (
      EXISTS (
        SELECT 1 FROM alert a
        WHERE a.state = 'acknowledged' AND (a.incident = e.key AND a.incident != '' OR a.key = e.key)
      ) OR NOT EXISTS (SELECT 1 FROM incident i WHERE i.id = e.key AND i.state = 'open')
    )
  ELSE NOT EXISTS (
      SELECT 1 FROM alert a
      WHERE a.state IN ('pending', 'firing', 'acknowledged')
        AND (a.incident = e.key AND a.incident != '' OR a.key = e.key)
    ) AND NOT EXISTS (SELECT 1 FROM incident i WHERE i.id = e.key AND i.state = 'open')
  END
ORDER BY key, first_at, policy LIMIT ?2;

-- name: open_courses_of
SELECT body FROM escalation WHERE closed_at = '' AND key IN (SELECT value FROM json_each(?));

-- name: soonest_course
SELECT min(due_at) FROM escalation WHERE closed_at = '' AND ended = '' AND due_at != '';

-- name: live_of
SELECT body FROM alert
WHERE state IN ('pending', 'firing', 'acknowledged') AND (
  incident != '' AND incident IN (SELECT value FROM json_each(?1)) OR key IN (SELECT value FROM json_each(?1)))
ORDER BY no;

-- name: still_open
SELECT id FROM incident WHERE state = 'open' AND id IN (SELECT value FROM json_each(?));

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

-- name: steps_of
SELECT body FROM escalation_step WHERE key IN (SELECT value FROM json_each(?));

-- name: add_override
INSERT INTO oncall_override (rota, until, body) VALUES (?, ?, ?) RETURNING no;

-- name: put_override
UPDATE oncall_override SET body = ? WHERE no = ?;

-- name: overrides
SELECT no, body FROM oncall_override WHERE until > ? ORDER BY no;

-- name: ended_alerts
SELECT body FROM alert
WHERE (incident = ?1 AND incident != '' OR key = ?1) AND state NOT IN ('pending', 'firing', 'acknowledged')
ORDER BY no DESC LIMIT ?2;
