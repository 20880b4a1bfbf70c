-- Inference runs: what was asked, where it may run, what came of it; one usage row a run.

CREATE TABLE runs (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id              text        NOT NULL CONSTRAINT runs_id_once UNIQUE,
    tenant              text        NOT NULL,
    api_key_id          bigint      REFERENCES api_keys (id),
    mode                text        NOT NULL CONSTRAINT runs_mode_known CHECK (mode IN ('live', 'test')),
    surface             text        NOT NULL CONSTRAINT runs_surface_known CHECK (surface IN ('inference', 'chat')),
    state               text        NOT NULL DEFAULT 'queued'
        CONSTRAINT runs_state_known CHECK (state IN ('queued', 'running', 'complete', 'failed', 'cancelled')),
    -- the answer leaves as a stream; the caller does not wait at a connection (and so cannot leave it)
    streamed            boolean     NOT NULL,
    detached            boolean     NOT NULL,
    -- what was asked: in the clear where it may be stored, else sealed, and gone when the run ends
    input               jsonb,
    sealed_input        bytea,
    plan                jsonb       NOT NULL,
    policy_hash         bytea       NOT NULL CHECK (length(policy_hash) = 32),
    model_passport_id   text        NOT NULL,
    model_requested     text        NOT NULL,
    request_id          text        NOT NULL,
    trace_id            text,
    project             text,
    input_salt          bytea       NOT NULL CHECK (length(input_salt) = 32),
    input_commitment    bytea       NOT NULL CHECK (length(input_commitment) = 32),
    deadline_at         timestamptz,
    cancel_reason       text        CONSTRAINT runs_cancel_reason_known CHECK (cancel_reason IN ('cancelled', 'disconnected')),
    -- from here on a caller may hold part of an answer, so no second one may follow
    streaming_since     timestamptz,
    -- since when nobody reads the answer of a run that somebody waited for
    left_at             timestamptz,
    answer              jsonb,
    finish_reason       text,
    compute_passport_id text,
    runtime             text,
    model_answered      text,
    tokens_in           integer     CHECK (tokens_in >= 0),
    tokens_out          integer     CHECK (tokens_out >= 0),
    usage_reported      boolean,
    ttft_ms             integer     CHECK (ttft_ms >= 0),
    total_latency_ms    integer     CHECK (total_latency_ms >= 0),
    used_fallback       boolean     NOT NULL DEFAULT false,
    fallback_reason     text,
    error_code          text,
    error_message       text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    started_at          timestamptz,
    ended_at            timestamptz,
    CONSTRAINT runs_end_is_dated CHECK ((ended_at IS NOT NULL) = (state IN ('complete', 'failed', 'cancelled'))),
    CONSTRAINT runs_end_is_counted CHECK (ended_at IS NULL OR (tokens_in IS NOT NULL AND tokens_out IS NOT NULL AND finish_reason IS NOT NULL)),
    CONSTRAINT runs_failed_says_why CHECK (state <> 'failed' OR (error_code IS NOT NULL AND error_message IS NOT NULL)),
    CONSTRAINT runs_seal_ends_with_the_run CHECK (sealed_input IS NULL OR ended_at IS NULL)
);
CREATE INDEX runs_of_tenant ON runs (tenant, id);
CREATE INDEX runs_under_way ON runs (state, deadline_at) WHERE state IN ('queued', 'running');

-- The exact bytes that a streamed run's caller was sent, chunk by chunk: what its output commitment is over, and what a resumed stream repeats.
CREATE TABLE run_frames (
    run_id bigint  PRIMARY KEY REFERENCES runs (id),
    frames bytea[] NOT NULL
);

CREATE TABLE usage (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_kind     text        NOT NULL,
    owner_id       bigint      NOT NULL,
    tenant         text        NOT NULL,
    mode           text        NOT NULL CONSTRAINT usage_mode_known CHECK (mode IN ('live', 'test')),
    route          text        NOT NULL,
    outcome        text        NOT NULL,
    tokens_in      integer     NOT NULL CHECK (tokens_in >= 0),
    tokens_out     integer     NOT NULL CHECK (tokens_out >= 0),
    usage_reported boolean     NOT NULL,
    at             timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT usage_once UNIQUE (owner_kind, owner_id)
);
CREATE INDEX usage_of_tenant ON usage (tenant, at);
