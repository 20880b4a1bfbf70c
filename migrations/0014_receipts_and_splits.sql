-- Receipts of runs and of callers' own claims, grouped by project where the caller names one; how a run's price is shared out.

-- squawk-ignore ban-drop-constraint
ALTER TABLE receipts DROP CONSTRAINT receipts_kind_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE receipts ADD CONSTRAINT receipts_kind_known CHECK (kind IN ('job', 'session_request', 'inference', 'claimed'));
ALTER TABLE receipts ADD COLUMN project text;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX receipts_of_project ON receipts (tenant, project, leaf_index) WHERE project IS NOT NULL;

-- A caller's own account of work done elsewhere. It owns its receipt, so nothing is ever claimed onto a run of ours.
-- `tenant` here and below is the receipts' keyed hash.
CREATE TABLE claims (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant       text        NOT NULL,
    run_id       text        NOT NULL CONSTRAINT claims_run_once UNIQUE,
    content_hash bytea       NOT NULL CHECK (length(content_hash) = 32),
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- A project's epochs are views: its receipts between two sizes of the one log. One begins where the one before ended.
CREATE TABLE project_epochs (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch_id   text        NOT NULL CONSTRAINT project_epochs_id_once UNIQUE,
    tenant     text        NOT NULL,
    project    text        NOT NULL,
    number     bigint      NOT NULL CHECK (number >= 1),
    start_size bigint      NOT NULL CHECK (start_size >= 0),
    end_size   bigint      CHECK (end_size >= start_size),
    root       bytea       CHECK (length(root) = 32),
    receipts   bigint      CHECK (receipts >= 0),
    opened_at  timestamptz NOT NULL DEFAULT now(),
    closed_at  timestamptz,
    CONSTRAINT project_epochs_number_once UNIQUE (tenant, project, number),
    CONSTRAINT project_epochs_closed_is_whole CHECK (num_nonnulls(end_size, root, receipts, closed_at) IN (0, 4))
);
CREATE UNIQUE INDEX project_epochs_one_open ON project_epochs (tenant, project) WHERE end_size IS NULL;

CREATE FUNCTION project_epoch_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.end_size IS NOT NULL THEN
        RAISE EXCEPTION 'project epoch % is closed', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER project_epochs_final BEFORE UPDATE ON project_epochs FOR EACH ROW EXECUTE FUNCTION project_epoch_is_final();

-- A target's word for a size is its word for every smaller one: a view ends on a size that an epoch of the log ends on too.
CREATE VIEW project_epoch_views AS
SELECT project_epochs.*,
       CASE WHEN project_epochs.end_size IS NULL THEN 'open' ELSE 'closed' END AS state,
       CASE WHEN project_epochs.end_size IS NULL THEN 'open'
            WHEN EXISTS (SELECT 1 FROM anchors WHERE anchors.state = 'final' AND anchors.size >= project_epochs.end_size) THEN 'anchored'
            WHEN own.all_failed THEN 'failed'
            ELSE 'anchoring' END AS status,
       coalesce(project_epochs.receipts,
                (SELECT count(*) FROM receipts
                  WHERE receipts.tenant = project_epochs.tenant AND receipts.project = project_epochs.project
                    AND receipts.leaf_index >= project_epochs.start_size)) AS leaf_count
  FROM project_epochs
  LEFT JOIN LATERAL (SELECT bool_and(anchors.state = 'failed') AS all_failed
                       FROM anchors WHERE anchors.size = project_epochs.end_size) AS own ON true;

-- How often an anchor that had failed was asked for again.
ALTER TABLE anchors ADD COLUMN retries integer NOT NULL DEFAULT 0;

-- How a run's price is shared out: one record a run, written once. What it says is the bytes of `record`, and they hash to `payout_hash`.
CREATE TABLE splits (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant      text        NOT NULL,
    run_id      text        NOT NULL,
    asked_hash  bytea       NOT NULL CHECK (length(asked_hash) = 32),
    record      bytea       NOT NULL,
    payout_hash bytea       NOT NULL CHECK (length(payout_hash) = 32),
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT splits_once UNIQUE (tenant, run_id)
);

CREATE FUNCTION split_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'split % is final', OLD.id USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER splits_final BEFORE UPDATE OR DELETE ON splits FOR EACH ROW EXECUTE FUNCTION split_is_final();
