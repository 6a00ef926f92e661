-- Machines that answered for an endpoint and were refused, until a poll is good again: `at` is of the newest refusal.
CREATE TABLE refusal (
  endpoint TEXT PRIMARY KEY,
  since TEXT NOT NULL,
  at TEXT NOT NULL,
  body TEXT NOT NULL
) WITHOUT ROWID;

-- Who accepted which of them, when and why. Rows are only ever added; the newest of an endpoint counts.
CREATE TABLE acceptance (
  no INTEGER PRIMARY KEY,
  endpoint TEXT NOT NULL,
  at TEXT NOT NULL,
  body TEXT NOT NULL
);
CREATE INDEX acceptance_endpoint ON acceptance (endpoint, no);
