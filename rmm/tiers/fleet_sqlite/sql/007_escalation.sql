-- Alerts that climb a policy of escalation: `due_at` is when its next step is, `ended` why nobody else is told,
-- `closed_at` is empty while those who were told have not heard of the end.
CREATE TABLE escalation (
  key TEXT NOT NULL,
  first_at TEXT NOT NULL,
  policy TEXT NOT NULL,
  fired_at TEXT NOT NULL,
  due_at TEXT NOT NULL,
  ended TEXT NOT NULL DEFAULT '',
  closed_at TEXT NOT NULL DEFAULT '',
  body TEXT NOT NULL,
  PRIMARY KEY (key, first_at, policy)
) WITHOUT ROWID;
CREATE INDEX escalation_closed ON escalation (closed_at);

-- Steps that were decided, in the transaction that put what they tell into the outbox.
CREATE TABLE escalation_step (
  key TEXT NOT NULL,
  first_at TEXT NOT NULL,
  policy TEXT NOT NULL,
  repeat INTEGER NOT NULL,
  step INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (key, first_at, policy, repeat, step)
) WITHOUT ROWID;

-- Who took a rota for a time, by command. A removed one stays, with who removed it.
CREATE TABLE oncall_override (
  no INTEGER PRIMARY KEY,
  rota TEXT NOT NULL,
  until TEXT NOT NULL,
  body TEXT NOT NULL
);
CREATE INDEX oncall_override_until ON oncall_override (until);
