-- Notifications of status rules wait in the outbox until the round shows whether they are their site's trouble:
-- `held` is that site, empty when there is nothing to wait for.
ALTER TABLE outbox ADD COLUMN held TEXT NOT NULL DEFAULT '';
CREATE INDEX outbox_held ON outbox (held) WHERE held != '';
DROP INDEX outbox_open;
CREATE INDEX outbox_open ON outbox (channel, at) WHERE sent_at = '';
