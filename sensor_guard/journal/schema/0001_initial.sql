-- The journal's first layout. Times are ms since 1970 UTC. One number space (seq) for readings, events, ticks and
-- the trail: whoever follows the journal needs one cursor.

PRAGMA application_id = 1397180977;  -- "SGJ1", so that a foreign SQLite file is told from ours

-- salt (16 random bytes of this installation), tail_seq, engine_state, plan_hash, last_readings_seq,
-- last_seq (the highest number that was in use when rows were last removed)
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- Every configuration that was in force: canonical JSON, zlib. last_used_at: when it was replaced, or put in force.
CREATE TABLE plans (
    hash          TEXT PRIMARY KEY,
    body          BLOB NOT NULL,
    first_used_at INTEGER NOT NULL,
    last_used_at  INTEGER NOT NULL
) STRICT;

-- What was fed to the engine at once. seq: the last input of the batch, or the tick's own number if it had none.
CREATE TABLE batches (
    seq INTEGER PRIMARY KEY,
    now INTEGER NOT NULL
) STRICT;

CREATE TABLE sensors (
    id        INTEGER PRIMARY KEY,
    home_id   TEXT NOT NULL,
    sensor_id TEXT NOT NULL,
    UNIQUE (home_id, sensor_id)
) STRICT;

CREATE TABLE quantities (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE readings (
    seq         INTEGER PRIMARY KEY,
    sensor      INTEGER NOT NULL REFERENCES sensors (id),
    quantity    INTEGER NOT NULL REFERENCES quantities (id),
    value       REAL NOT NULL,
    observed_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    device_seq  INTEGER NOT NULL,
    flags       INTEGER NOT NULL
) STRICT;

-- A redelivered reading that carries the device's own time (flag 1) is the same reading. The time leads, so that
-- new rows touch the right edge of the index and not a page per sensor. The value belongs to the key: a device
-- whose clock counts whole seconds may open and shut a door, or press and release a button, within one of them.
CREATE UNIQUE INDEX readings_once ON readings (observed_at, sensor, quantity, device_seq, value) WHERE flags & 1;

-- Each sensor's last word up to meta.last_readings_seq; what came since is read from readings.
CREATE TABLE last_readings (
    sensor      INTEGER NOT NULL REFERENCES sensors (id),
    quantity    INTEGER NOT NULL REFERENCES quantities (id),
    seq         INTEGER NOT NULL,
    value       REAL NOT NULL,
    observed_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    device_seq  INTEGER NOT NULL,
    flags       INTEGER NOT NULL,
    PRIMARY KEY (sensor, quantity)
) STRICT, WITHOUT ROWID;

-- Every input that is not a reading, as journal/codec.py writes it.
CREATE TABLE events (
    seq  INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- The packets of each connection that were committed last: what a redelivery without a device's time is known by.
CREATE TABLE recent_packets (
    lane         TEXT NOT NULL,
    turn         INTEGER NOT NULL,
    packet_id    INTEGER NOT NULL,
    payload_hash BLOB NOT NULL,
    PRIMARY KEY (lane, turn)
) STRICT, WITHOUT ROWID;

-- Each alarm as it is now. seq: the batch that changed it last.
CREATE TABLE alarms (
    alarm_id        TEXT PRIMARY KEY,
    home_id         TEXT NOT NULL,
    rule_id         TEXT NOT NULL,
    severity        TEXT NOT NULL,
    condition       TEXT NOT NULL,
    response        TEXT NOT NULL,
    raised_at       INTEGER NOT NULL,
    noticed_at      INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    cleared_at      INTEGER,
    closed_at       INTEGER,
    closed_by       TEXT,
    outcome         TEXT,
    evidence        TEXT NOT NULL,
    seq             INTEGER NOT NULL
) STRICT;
CREATE INDEX alarms_open ON alarms (raised_at) WHERE closed_at IS NULL;
CREATE INDEX alarms_closed ON alarms (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX alarms_by_time ON alarms (raised_at);
CREATE INDEX alarms_by_home ON alarms (home_id, raised_at);

-- The audit: every transition of an alarm, every state of a text, every command with who gave it.
-- n counts within an alarm ('' for what concerns none), so that a missing row shows. batch_seq: the batch behind it.
CREATE TABLE trail (
    seq         INTEGER PRIMARY KEY,
    batch_seq   INTEGER NOT NULL,
    alarm_id    TEXT NOT NULL,
    n           INTEGER NOT NULL,
    what        TEXT NOT NULL CHECK (what IN ('transition', 'notification', 'command', 'refusal')),
    subject     TEXT NOT NULL,
    before      TEXT NOT NULL,
    after       TEXT NOT NULL,
    at          INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    actor_id    TEXT,
    note        TEXT NOT NULL,
    UNIQUE (alarm_id, n)
) STRICT;
CREATE INDEX trail_by_batch ON trail (batch_seq) WHERE what = 'transition';

-- The alarms whose trail is being removed, for the length of one transaction: see journal/prune.py.
CREATE TABLE pruning (
    alarm_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TRIGGER trail_is_never_changed BEFORE UPDATE ON trail
BEGIN
    SELECT RAISE(ABORT, 'the trail is append-only');
END;

CREATE TRIGGER trail_is_never_replaced BEFORE INSERT ON trail
WHEN EXISTS (SELECT 1 FROM trail WHERE seq = NEW.seq OR (alarm_id = NEW.alarm_id AND n = NEW.n))
BEGIN
    SELECT RAISE(ABORT, 'the trail is append-only');
END;

CREATE TRIGGER trail_goes_with_its_closed_alarm BEFORE DELETE ON trail
WHEN NOT EXISTS (SELECT 1 FROM pruning WHERE alarm_id = OLD.alarm_id)
    OR EXISTS (SELECT 1 FROM alarms WHERE alarm_id = OLD.alarm_id AND closed_at IS NULL)
BEGIN
    SELECT RAISE(ABORT, 'the trail is append-only');
END;

-- Every text to every person. urgency: 0 is critical. stop_wanted: somebody has answered while it was under way,
-- so that it is not tried again. alarm_id '' belongs to a test text.
CREATE TABLE outbox (
    notification_id TEXT PRIMARY KEY,
    alarm_id        TEXT NOT NULL,
    home_id         TEXT NOT NULL,
    rule_id         TEXT NOT NULL,
    kind            TEXT NOT NULL,
    severity        TEXT NOT NULL,
    step            INTEGER NOT NULL,
    recipient_id    TEXT NOT NULL,
    due_at          INTEGER NOT NULL,
    params          TEXT NOT NULL,
    code            TEXT NOT NULL,
    channel         TEXT NOT NULL,
    state           TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    attempted_at    INTEGER,
    receipt_id      TEXT,
    reason          TEXT NOT NULL,
    urgency         INTEGER NOT NULL,
    stop_wanted     INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    changed_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_waiting ON outbox (urgency, due_at DESC) WHERE state = 'pending';
CREATE INDEX outbox_by_state ON outbox (state);
CREATE INDEX outbox_by_alarm ON outbox (alarm_id);
CREATE INDEX outbox_by_code ON outbox (code);

-- One row a home: the engine's state with everything up to upto_seq in it.
CREATE TABLE home_state (
    home_id   TEXT PRIMARY KEY,
    upto_seq  INTEGER NOT NULL,
    schema    INTEGER NOT NULL,
    plan_hash TEXT NOT NULL,
    state     TEXT NOT NULL
) STRICT;

CREATE TABLE quarantine (
    id          INTEGER PRIMARY KEY,
    topic       TEXT NOT NULL,
    payload     BLOB NOT NULL,
    reason      TEXT NOT NULL,
    detail      TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    day         INTEGER NOT NULL
) STRICT;
CREATE INDEX quarantine_by_day ON quarantine (day);

-- Counted for ever: quarantined messages by reason, reports that changed nothing by why.
CREATE TABLE counters (
    scope TEXT NOT NULL,
    name  TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE cursors (
    sink TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
