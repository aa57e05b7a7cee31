-- Texts in the order of their alarms, and several texts told by one.
-- alarm_at: when the alarm rose (a test text: when it was asked for). due_at is from here on "not before" alone: a text
-- that is tried again keeps its place.
-- folded_into: the text that tells this one, whose state it shares: a digest (a row of its own, kind 'digest'), or a
-- newer call to the same person about the same alarm.

ALTER TABLE outbox ADD COLUMN alarm_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN folded_into TEXT;
UPDATE outbox SET alarm_at = coalesce(
    (SELECT raised_at FROM alarms WHERE alarms.alarm_id = outbox.alarm_id), created_at
);

DROP INDEX outbox_waiting;
CREATE INDEX outbox_waiting ON outbox (urgency, alarm_at DESC, due_at) WHERE state = 'pending' AND folded_into IS NULL;
CREATE INDEX outbox_foldable ON outbox (recipient_id, due_at)
    WHERE state = 'pending' AND folded_into IS NULL AND urgency > 0;
CREATE INDEX outbox_folded ON outbox (folded_into) WHERE folded_into IS NOT NULL;
CREATE INDEX outbox_tried ON outbox (recipient_id, attempted_at) WHERE attempted_at IS NOT NULL;
