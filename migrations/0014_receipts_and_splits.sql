-- Receipts of runs and of callers' own claims, grouped by project where the caller names one; how a run's price is shared out.

-- squawk-ignore ban-drop-constraint
ALTER TABLE receipts DROP CONSTRAINT receipts_kind_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE receipts ADD CONSTRAINT receipts_kind_known CHECK (kind IN ('job', 'session_request', 'inference', 'claimed'));
ALTER TABLE receipts ADD COLUMN project text;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX receipts_of_project ON receipts (tenant, project, leaf_index) WHERE project IS NOT NULL;
