-- Door three: pay-per-job.

CREATE TABLE jobs (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id           text        NOT NULL CONSTRAINT jobs_public_id_once UNIQUE,
    state               text        NOT NULL DEFAULT 'awaiting_eval_payment'
        CONSTRAINT jobs_state_known CHECK (state IN ('awaiting_eval_payment', 'evaluating', 'rejected', 'awaiting_work_payment',
                                                     'executing', 'complete', 'failed')),
    request             text        NOT NULL,
    address_hash        bytea       NOT NULL,
    eval_amount_msat    bigint      NOT NULL CHECK (eval_amount_msat > 0),
    reason              text,
    result              text,
    error_message       text,
    eval_tokens_in      integer     NOT NULL DEFAULT 0,
    eval_tokens_out     integer     NOT NULL DEFAULT 0,
    estimated_cost_usd  numeric,
    margin_pct          numeric,
    btc_price_usd       numeric,
    work_amount_msat    bigint      CHECK (work_amount_msat > 0),
    tokens_in           integer,
    tokens_out          integer,
    actual_cost_usd     numeric,
    actual_charge_usd   numeric,
    charged_msat        bigint      CHECK (charged_msat >= 0),
    created_at          timestamptz NOT NULL DEFAULT now(),
    ended_at            timestamptz,
    CONSTRAINT jobs_end_is_dated CHECK ((ended_at IS NOT NULL) = (state IN ('rejected', 'complete', 'failed'))),
    CONSTRAINT jobs_complete_has_ledger
        CHECK (state <> 'complete' OR (result IS NOT NULL AND charged_msat IS NOT NULL AND tokens_out IS NOT NULL)),
    CONSTRAINT jobs_rejected_has_reason CHECK (state <> 'rejected' OR reason IS NOT NULL),
    CONSTRAINT jobs_failed_says_why CHECK (state <> 'failed' OR error_message IS NOT NULL)
);
CREATE INDEX jobs_unpaid ON jobs (address_hash) WHERE state IN ('awaiting_eval_payment', 'awaiting_work_payment');
