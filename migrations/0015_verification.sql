-- Verifications: what was submitted, the stages with what each gave and took, the one receipt.

CREATE TABLE verifications (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id         text        NOT NULL CONSTRAINT verifications_id_once UNIQUE,
    pipeline           text        NOT NULL CONSTRAINT verifications_pipeline_known CHECK (pipeline IN ('forward', 'reverse')),
    tenant             text        NOT NULL,
    api_key_id         bigint      REFERENCES api_keys (id),
    mode               text        NOT NULL CONSTRAINT verifications_mode_known CHECK (mode IN ('live', 'test')),
    -- which of the operator's models is asked
    model              text        NOT NULL,
    language           text        NOT NULL,
    -- the code (forward) or the task (reverse), as it came; gone once it has aged
    subject            text,
    context            text,
    -- what opens the commitments; gone with what was committed to
    request_salt       bytea       CHECK (length(request_salt) = 32),
    request_commitment bytea       NOT NULL CHECK (length(request_commitment) = 32),
    input_salt         bytea       CHECK (length(input_salt) = 32),
    input_commitment   bytea       NOT NULL CHECK (length(input_commitment) = 32),
    state              text        NOT NULL DEFAULT 'queued'
        CONSTRAINT verifications_state_known CHECK (state IN ('queued', 'running', 'complete', 'failed', 'cancelled')),
    -- the stage that is next or at work; the last one, once it has ended
    stage              text        NOT NULL CONSTRAINT verifications_stage_known
        CHECK (stage IN ('extract', 'verify', 'remediate', 'specify', 'constrain', 'generate', 'repair')),
    -- how often it was resumed after it had failed
    round              integer     NOT NULL DEFAULT 0 CHECK (round >= 0),
    -- the unit of the month's quota that it holds; none where it failed
    quota_unit         bigint,
    deadline_at        timestamptz NOT NULL,
    cancel_asked_at    timestamptz,
    error_code         text        CONSTRAINT verifications_error_code_known CHECK (error_code IN ('upstream_error', 'internal_error')),
    error_message      text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    -- when this round was accepted, when a worker first took it up, when it ended
    accepted_at        timestamptz NOT NULL DEFAULT now(),
    started_at         timestamptz,
    ended_at           timestamptz,
    erased_at          timestamptz,
    CONSTRAINT verifications_end_is_dated CHECK ((ended_at IS NOT NULL) = (state IN ('complete', 'failed', 'cancelled'))),
    CONSTRAINT verifications_failed_says_why CHECK ((state = 'failed') = (error_code IS NOT NULL) AND (error_code IS NULL) = (error_message IS NULL)),
    CONSTRAINT verifications_failed_holds_no_unit CHECK ((quota_unit IS NULL) = (state = 'failed')),
    CONSTRAINT verifications_subject_until_erased CHECK ((subject IS NULL) = (erased_at IS NOT NULL)),
    CONSTRAINT verifications_request_salt_until_erased CHECK ((request_salt IS NULL) = (erased_at IS NOT NULL)),
    CONSTRAINT verifications_input_salt_until_erased CHECK ((input_salt IS NULL) = (erased_at IS NOT NULL)),
    CONSTRAINT verifications_erased_once_ended CHECK (erased_at IS NULL OR ended_at IS NOT NULL)
);
CREATE INDEX verifications_of_tenant ON verifications (tenant, id);
CREATE INDEX verifications_under_way ON verifications (deadline_at) WHERE state IN ('queued', 'running');
CREATE INDEX verifications_to_erase ON verifications (ended_at) WHERE erased_at IS NULL AND ended_at IS NOT NULL;

-- One row an attempt at a stage. `output` is what the stage gave, in the JSON forms that receipts commit to.
CREATE TABLE verification_stages (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    verification_id bigint      NOT NULL REFERENCES verifications (id),
    stage           text        NOT NULL CONSTRAINT verification_stages_stage_known
        CHECK (stage IN ('extract', 'verify', 'remediate', 'specify', 'constrain', 'generate', 'repair')),
    attempt         integer     NOT NULL CHECK (attempt >= 1),
    state           text        NOT NULL DEFAULT 'running'
        CONSTRAINT verification_stages_state_known CHECK (state IN ('running', 'done', 'failed', 'interrupted', 'abandoned')),
    input_hash      bytea       NOT NULL CHECK (length(input_hash) = 32),
    output          jsonb,
    calls           integer     NOT NULL DEFAULT 0 CHECK (calls >= 0),
    tokens_in       bigint      NOT NULL DEFAULT 0 CHECK (tokens_in >= 0),
    tokens_out      bigint      NOT NULL DEFAULT 0 CHECK (tokens_out >= 0),
    cost_microusd   bigint      NOT NULL DEFAULT 0 CHECK (cost_microusd >= 0),
    ttft_ms         integer     CHECK (ttft_ms >= 0),
    model           text,
    fault           text,
    started_at      timestamptz NOT NULL DEFAULT now(),
    ended_at        timestamptz,
    CONSTRAINT verification_stages_attempt_once UNIQUE (verification_id, stage, attempt),
    CONSTRAINT verification_stages_end_is_dated CHECK ((ended_at IS NOT NULL) = (state <> 'running')),
    CONSTRAINT verification_stages_only_done_gives CHECK (output IS NULL OR state = 'done')
);
CREATE UNIQUE INDEX verification_stages_done_once ON verification_stages (verification_id, stage) WHERE state = 'done';

-- squawk-ignore ban-drop-constraint
ALTER TABLE receipts DROP CONSTRAINT receipts_kind_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE receipts ADD CONSTRAINT receipts_kind_known CHECK (kind IN ('job', 'session_request', 'inference', 'claimed', 'verification'));
-- squawk-ignore ban-drop-constraint
ALTER TABLE receipt_salts DROP CONSTRAINT receipt_salts_field_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE receipt_salts ADD CONSTRAINT receipt_salts_field_known CHECK (field IN ('input', 'output', 'request', 'claims', 'verdicts'));
