-- What a run was asked and what came of it can be forgotten (RETENTION_DAYS). Its row, figures, usage and receipt stay.

-- The salt goes as well: with it, short texts could be guessed from the receipt's commitments.
-- squawk-ignore ban-drop-not-null
ALTER TABLE runs ALTER COLUMN input_salt DROP NOT NULL;
ALTER TABLE runs ADD COLUMN forgotten_at timestamptz;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE runs ADD CONSTRAINT runs_salt_goes_last CHECK ((input_salt IS NULL) = (forgotten_at IS NOT NULL));
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE runs ADD CONSTRAINT runs_forgotten_is_empty CHECK (forgotten_at IS NULL OR (ended_at IS NOT NULL AND input IS NULL AND answer IS NULL));
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX runs_remembered ON runs (ended_at) WHERE ended_at IS NOT NULL AND forgotten_at IS NULL;
