-- Texts that say again what another one said: kept, but counted once.

ALTER TABLE texts ADD COLUMN IF NOT EXISTS duplicate_of String COMMENT 'text_id of the text that it repeats; empty where it says something new' AFTER instruments;

ALTER TABLE texts COMMENT COLUMN credibility 'Weight in [0, 1], as known when it came: the source''s configured one, or as often as it was right';
