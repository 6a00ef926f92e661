-- What the first eight migrations of the file lead to: see there for what the tables are for. Texts compare by their
-- bytes, as in the file; numbers go on from the highest that is there.

CREATE TABLE acceptance (
  no BIGINT PRIMARY KEY DEFAULT next_no('acceptance'),
  endpoint TEXT COLLATE "C" NOT NULL,
  at TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL
);
CREATE INDEX acceptance_endpoint ON acceptance (endpoint, no);

CREATE TABLE act (
  no BIGINT PRIMARY KEY DEFAULT next_no('act'),
  at TEXT COLLATE "C" NOT NULL,
  what TEXT COLLATE "C" NOT NULL,
  key TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL
);
CREATE INDEX act_key ON act (key, no);

CREATE TABLE alert (
  no BIGINT PRIMARY KEY DEFAULT next_no('alert'),
  key TEXT COLLATE "C" NOT NULL,
  endpoint TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  last_at TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL,
  incident TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX alert_live ON alert (key) WHERE state IN ('pending', 'firing', 'acknowledged');
CREATE INDEX alert_endpoint ON alert (endpoint, last_at);
CREATE INDEX alert_incident ON alert (incident) WHERE incident != '';
CREATE INDEX alert_resolved ON alert (last_at) WHERE state = 'resolved';
CREATE INDEX alert_key ON alert (key);

CREATE TABLE channel (
  name TEXT COLLATE "C" PRIMARY KEY,
  failures BIGINT NOT NULL,
  not_before TEXT COLLATE "C" NOT NULL,
  at TEXT COLLATE "C" NOT NULL,
  result TEXT COLLATE "C" NOT NULL
);

CREATE TABLE endpoint (
  id TEXT COLLATE "C" PRIMARY KEY,
  name TEXT COLLATE "C" NOT NULL,
  site TEXT COLLATE "C" NOT NULL,
  shard BIGINT NOT NULL,
  status TEXT COLLATE "C" NOT NULL,
  fault_code TEXT COLLATE "C" NOT NULL,
  hint TEXT COLLATE "C" NOT NULL,
  message TEXT COLLATE "C" NOT NULL,
  observed_at TEXT COLLATE "C" NOT NULL,
  epoch TEXT COLLATE "C" NOT NULL,
  seq BIGINT NOT NULL,
  duration_s DOUBLE PRECISION NOT NULL,
  score BIGINT NOT NULL,
  health TEXT COLLATE "C" NOT NULL,
  reasons TEXT COLLATE "C" NOT NULL,
  facts TEXT COLLATE "C" NOT NULL
);

CREATE TABLE escalation (
  key TEXT COLLATE "C" NOT NULL,
  first_at TEXT COLLATE "C" NOT NULL,
  policy TEXT COLLATE "C" NOT NULL,
  fired_at TEXT COLLATE "C" NOT NULL,
  due_at TEXT COLLATE "C" NOT NULL,
  ended TEXT COLLATE "C" NOT NULL DEFAULT '',
  closed_at TEXT COLLATE "C" NOT NULL DEFAULT '',
  body TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (key, first_at, policy)
);
CREATE INDEX escalation_closed ON escalation (closed_at);

CREATE TABLE escalation_step (
  key TEXT COLLATE "C" NOT NULL,
  first_at TEXT COLLATE "C" NOT NULL,
  policy TEXT COLLATE "C" NOT NULL,
  repeat BIGINT NOT NULL,
  step BIGINT NOT NULL,
  body TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (key, first_at, policy, repeat, step)
);

CREATE TABLE flap (
  key TEXT COLLATE "C" PRIMARY KEY,
  body TEXT COLLATE "C" NOT NULL
);

CREATE TABLE flushed (
  channel TEXT COLLATE "C" NOT NULL,
  grp TEXT COLLATE "C" NOT NULL,
  at TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (channel, grp)
);

CREATE TABLE health_day (
  day TEXT COLLATE "C" NOT NULL,
  endpoint TEXT COLLATE "C" NOT NULL,
  score BIGINT NOT NULL,
  lowest BIGINT NOT NULL,
  status TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (day, endpoint)
);

CREATE TABLE heard (
  alert TEXT COLLATE "C" NOT NULL,
  channel TEXT COLLATE "C" NOT NULL,
  route TEXT COLLATE "C" NOT NULL,
  at TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (alert, channel)
);
CREATE INDEX heard_route ON heard (route, at);

CREATE TABLE incident (
  id TEXT COLLATE "C" PRIMARY KEY,
  state TEXT COLLATE "C" NOT NULL,
  opened_at TEXT COLLATE "C" NOT NULL,
  last_at TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL
);
CREATE INDEX incident_open ON incident (state) WHERE state = 'open';
CREATE INDEX incident_opened ON incident (opened_at);

CREATE TABLE late (
  no BIGINT PRIMARY KEY DEFAULT next_no('late'),
  endpoint TEXT COLLATE "C" NOT NULL,
  at TEXT COLLATE "C" NOT NULL,
  epoch TEXT COLLATE "C" NOT NULL,
  seq BIGINT NOT NULL,
  arrived TEXT COLLATE "C" NOT NULL,
  evaluated BIGINT NOT NULL DEFAULT 0,
  body BYTEA NOT NULL
);
CREATE UNIQUE INDEX late_once ON late (endpoint, at, epoch, seq);
CREATE INDEX late_open ON late (endpoint) WHERE evaluated = 0;

CREATE TABLE mark (
  name TEXT COLLATE "C" PRIMARY KEY,
  no BIGINT NOT NULL
);

CREATE TABLE notification (
  id TEXT COLLATE "C" PRIMARY KEY,
  at TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL,
  held TEXT COLLATE "C" NOT NULL DEFAULT '',
  outcome TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX notification_open ON notification (at) WHERE outcome = '' AND held = '';
CREATE INDEX notification_held ON notification (held) WHERE held != '';
CREATE INDEX notification_at ON notification (at);

CREATE TABLE oncall_override (
  no BIGINT PRIMARY KEY DEFAULT next_no('oncall_override'),
  rota TEXT COLLATE "C" NOT NULL,
  until TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL
);
CREATE INDEX oncall_override_until ON oncall_override (until);

CREATE TABLE outbox (
  id TEXT COLLATE "C" NOT NULL,
  channel TEXT COLLATE "C" NOT NULL,
  at TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL,
  attempts BIGINT NOT NULL DEFAULT 0,
  sent_at TEXT COLLATE "C" NOT NULL DEFAULT '',
  result TEXT COLLATE "C" NOT NULL DEFAULT '',
  due_at TEXT COLLATE "C" NOT NULL DEFAULT '',
  gave_up TEXT COLLATE "C" NOT NULL DEFAULT '',
  PRIMARY KEY (id, channel)
);
CREATE INDEX outbox_open ON outbox (channel, at) WHERE sent_at = '' AND gave_up = '';
CREATE INDEX outbox_at ON outbox (at);

CREATE TABLE refusal (
  endpoint TEXT COLLATE "C" PRIMARY KEY,
  since TEXT COLLATE "C" NOT NULL,
  at TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL
);

CREATE TABLE remembered (
  endpoint TEXT COLLATE "C" PRIMARY KEY,
  body BYTEA NOT NULL
);

CREATE TABLE silence (
  no BIGINT PRIMARY KEY DEFAULT next_no('silence'),
  ends_at TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL
);
CREATE INDEX silence_ends ON silence (ends_at);

CREATE TABLE suppressed (
  no BIGINT PRIMARY KEY DEFAULT next_no('suppressed'),
  at TEXT COLLATE "C" NOT NULL,
  key TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL
);
CREATE INDEX suppressed_key ON suppressed (key, at);
CREATE INDEX suppressed_at ON suppressed (at);

CREATE TABLE waiting (
  channel TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  grp TEXT COLLATE "C" NOT NULL,
  alert TEXT COLLATE "C" NOT NULL,
  due_at TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (channel, id)
);
CREATE INDEX waiting_due ON waiting (due_at);
CREATE INDEX waiting_alert ON waiting (alert);
CREATE INDEX waiting_group ON waiting (channel, grp);

CREATE FUNCTION act_stays() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  RAISE EXCEPTION 'acts are only added';
END $body$;
CREATE TRIGGER act_changed BEFORE UPDATE OR DELETE ON act FOR EACH ROW EXECUTE FUNCTION act_stays();
