-- Door three, complete: payouts that pay debts, prefunded sessions and their requests, reservations, the free demo.

-- Several top-ups a session, one pending at a time; every other purpose once an owner, as before.
-- squawk-ignore ban-drop-constraint
ALTER TABLE invoices DROP CONSTRAINT invoices_once;
-- squawk-ignore ban-drop-constraint
ALTER TABLE invoices DROP CONSTRAINT invoices_purpose_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE invoices ADD CONSTRAINT invoices_purpose_known CHECK (purpose IN ('eval', 'work', 'deposit', 'topup'));
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX invoices_once ON invoices (owner_kind, owner_id, purpose) WHERE purpose <> 'topup';
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX invoices_one_topup_pending ON invoices (owner_kind, owner_id) WHERE purpose = 'topup' AND state = 'open';
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX invoices_owner ON invoices (owner_kind, owner_id);

CREATE OR REPLACE VIEW due_invoices AS
SELECT id, next_check FROM invoices
 WHERE next_check <= now()
   AND ((state = 'open' AND (payment_request IS NOT NULL OR (purpose <> 'work' AND expires_at < now())))
        OR (state = 'expired' AND expires_at > now() - interval '1 day'));

-- A job that was paid for in one payment, evaluation and work together (L402).
ALTER TABLE jobs ADD COLUMN prepaid boolean NOT NULL DEFAULT false;

-- Money out. Hash and amount stand here, unique, before the node is called; the same payment request is all that is ever sent.
CREATE TABLE payouts (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_kind      text        NOT NULL,
    owner_id        bigint      NOT NULL,
    state           text        NOT NULL DEFAULT 'intended'
        CONSTRAINT payouts_state_known CHECK (state IN ('intended', 'sending', 'unknown', 'paid', 'failed')),
    payment_request text        NOT NULL,
    payment_hash    bytea       NOT NULL CHECK (length(payment_hash) = 32),
    amount_msat     bigint      NOT NULL CHECK (amount_msat > 0 AND amount_msat % 1000 = 0),
    fee_limit_msat  bigint      NOT NULL CHECK (fee_limit_msat >= 0),
    expires_at      timestamptz NOT NULL,
    -- the claim (fence) that may be inside a send at this moment; empty again once that call is known to have returned
    sender_fence    bigint,
    -- handed to the node more than once: an earlier hand-over that nobody saw arrive may still start a payment, until the invoice expires
    orphaned        boolean     NOT NULL DEFAULT false,
    seen_in_flight  boolean     NOT NULL DEFAULT false,
    needs_review    boolean     NOT NULL DEFAULT false,
    preimage        bytea       CHECK (length(preimage) = 32),
    fee_msat        bigint      CHECK (fee_msat >= 0),
    fault           text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    sent_at         timestamptz,
    ended_at        timestamptz,
    CONSTRAINT payouts_hash_once UNIQUE (payment_hash),
    CONSTRAINT payouts_end_is_dated CHECK ((ended_at IS NOT NULL) = (state IN ('paid', 'failed'))),
    CONSTRAINT payouts_paid_is_proved CHECK ((state = 'paid') = (preimage IS NOT NULL AND fee_msat IS NOT NULL)),
    CONSTRAINT payouts_failed_says_why CHECK (state <> 'failed' OR fault IS NOT NULL),
    CONSTRAINT payouts_preimage_proves CHECK (preimage IS NULL OR sha256(preimage) = payment_hash)
);
CREATE UNIQUE INDEX payouts_one_open ON payouts (owner_kind, owner_id) WHERE state NOT IN ('paid', 'failed');
CREATE INDEX payouts_owner ON payouts (owner_kind, owner_id);

-- A payout binds the debts that it pays; a failed one lets them go.
-- squawk-ignore adding-foreign-key-constraint
ALTER TABLE debts ADD COLUMN payout_id bigint REFERENCES payouts (id);
-- squawk-ignore ban-drop-constraint
ALTER TABLE debts DROP CONSTRAINT debts_reason_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE debts ADD CONSTRAINT debts_reason_known CHECK (reason IN ('overpaid', 'underpaid', 'late', 'evaluation_failed', 'work_failed',
                                                                      'unused', 'not_priced', 'unspent', 'rest'));
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE debts ADD CONSTRAINT debts_paid_by_a_payout CHECK (state <> 'paid' OR payout_id IS NOT NULL);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX debts_payout ON debts (payout_id) WHERE payout_id IS NOT NULL;

-- Part of an owner's balance that is spoken for. `expires_at` is when somebody should look: only its own end frees it.
CREATE TABLE reservations (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_kind  text        NOT NULL,
    owner_id    bigint      NOT NULL,
    ref         text        NOT NULL,
    amount_msat bigint      NOT NULL CHECK (amount_msat > 0),
    state       text        NOT NULL DEFAULT 'open' CONSTRAINT reservations_state_known CHECK (state IN ('open', 'settled', 'released')),
    expires_at  timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz,
    CONSTRAINT reservations_once UNIQUE (owner_kind, owner_id, ref),
    CONSTRAINT reservations_end_is_dated CHECK ((ended_at IS NOT NULL) = (state <> 'open'))
);
CREATE INDEX reservations_open ON reservations (owner_kind, owner_id) WHERE state = 'open';

CREATE TABLE sessions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id    text        NOT NULL CONSTRAINT sessions_public_id_once UNIQUE,
    state        text        NOT NULL DEFAULT 'awaiting_payment'
        CONSTRAINT sessions_state_known CHECK (state IN ('awaiting_payment', 'active', 'paused', 'expired')),
    address_hash bytea       NOT NULL,
    deposit_msat bigint      NOT NULL CHECK (deposit_msat > 0),
    closed       boolean     NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL DEFAULT now(),
    activated_at timestamptz,
    expires_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    CONSTRAINT sessions_end_is_dated CHECK ((ended_at IS NOT NULL) = (state = 'expired')),
    CONSTRAINT sessions_activation_is_dated CHECK (state NOT IN ('active', 'paused') OR activated_at IS NOT NULL)
);
CREATE INDEX sessions_unpaid ON sessions (address_hash) WHERE state = 'awaiting_payment';
CREATE INDEX sessions_idle ON sessions (expires_at) WHERE state IN ('active', 'paused');

CREATE TABLE session_requests (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id       text        NOT NULL CONSTRAINT session_requests_public_id_once UNIQUE,
    session_id      bigint      NOT NULL REFERENCES sessions (id),
    state           text        NOT NULL DEFAULT 'evaluating'
        CONSTRAINT session_requests_state_known CHECK (state IN ('evaluating', 'executing', 'complete', 'rejected', 'failed')),
    request         text        NOT NULL,
    reserved_msat   bigint      NOT NULL CHECK (reserved_msat > 0),
    btc_price_usd   numeric     NOT NULL CHECK (btc_price_usd > 0),
    price_source    text        NOT NULL,
    margin_pct      numeric     NOT NULL,
    reason          text,
    result          text,
    error_message   text,
    eval_tokens_in  integer     NOT NULL DEFAULT 0,
    eval_tokens_out integer     NOT NULL DEFAULT 0,
    tokens_in       integer     NOT NULL DEFAULT 0,
    tokens_out      integer     NOT NULL DEFAULT 0,
    eval_msat       bigint      NOT NULL DEFAULT 0 CHECK (eval_msat >= 0),
    work_msat       bigint      NOT NULL DEFAULT 0 CHECK (work_msat >= 0),
    created_at      timestamptz NOT NULL DEFAULT now(),
    ended_at        timestamptz,
    CONSTRAINT session_requests_end_is_dated CHECK ((ended_at IS NOT NULL) = (state IN ('complete', 'rejected', 'failed'))),
    CONSTRAINT session_requests_within_reservation CHECK (eval_msat + work_msat <= reserved_msat),
    CONSTRAINT session_requests_failed_is_free CHECK (state <> 'failed' OR (eval_msat = 0 AND work_msat = 0 AND error_message IS NOT NULL)),
    CONSTRAINT session_requests_rejected_has_reason CHECK (state <> 'rejected' OR (reason IS NOT NULL AND work_msat = 0)),
    CONSTRAINT session_requests_complete_has_result CHECK (state <> 'complete' OR result IS NOT NULL)
);
CREATE INDEX session_requests_session ON session_requests (session_id, id);

-- squawk-ignore ban-drop-constraint
ALTER TABLE receipts DROP CONSTRAINT receipts_kind_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE receipts ADD CONSTRAINT receipts_kind_known CHECK (kind IN ('job', 'session_request'));

-- Root keys of macaroons: derived from SECRET_KEY and a generation's salt. A retired generation's macaroons are no longer ours.
CREATE TABLE macaroon_generations (
    number     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    salt       bytea       NOT NULL CHECK (length(salt) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz
);

-- The free demo: kept for a day, then deleted.
CREATE TABLE demos (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state      text        NOT NULL DEFAULT 'evaluating'
        CONSTRAINT demos_state_known CHECK (state IN ('evaluating', 'executing', 'complete', 'rejected', 'failed')),
    request    text        NOT NULL,
    reason     text,
    result     text,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    CONSTRAINT demos_end_is_dated CHECK ((ended_at IS NOT NULL) = (state IN ('complete', 'rejected', 'failed')))
);
CREATE INDEX demos_age ON demos (created_at);

-- Ledger against node: what the last comparisons found.
CREATE TABLE reconciliations (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    differences jsonb       NOT NULL DEFAULT '[]',
    invoices    bigint      NOT NULL,
    payments    bigint      NOT NULL,
    began_at    timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX reconciliations_age ON reconciliations (ended_at);
