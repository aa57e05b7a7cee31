-- What a start must know of a home without reading its state. wakes_at: when it next wants to be looked at; seen_until:
-- until when one of its sensors speaks for the present, 0: none does. NULL: its state has to be read at once.

ALTER TABLE home_state ADD COLUMN wakes_at INTEGER;
ALTER TABLE home_state ADD COLUMN seen_until INTEGER;
