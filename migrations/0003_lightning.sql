-- Invoices: preimage material and hash are stored before the node is asked, so creation is idempotent.

CREATE TABLE sweeps (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reason     text        NOT NULL CONSTRAINT sweeps_reason_known CHECK (reason IN ('tick', 'nudge')),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE invoices (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_kind      text        NOT NULL,
    owner_id        bigint      NOT NULL,
    purpose         text        NOT NULL CONSTRAINT invoices_purpose_known CHECK (purpose IN ('eval', 'work')),
    state           text        NOT NULL DEFAULT 'open'
        CONSTRAINT invoices_state_known CHECK (state IN ('open', 'settled', 'expired')),
    preimage_salt   bytea       NOT NULL CHECK (length(preimage_salt) = 32),
    payment_hash    bytea       NOT NULL CHECK (length(payment_hash) = 32),
    amount_msat     bigint      NOT NULL CHECK (amount_msat > 0),
    memo            text        NOT NULL CHECK (octet_length(memo) <= 639),
    payment_request text,
    btc_price_usd   numeric     CHECK (btc_price_usd > 0),
    price_source    text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL,
    next_check      timestamptz NOT NULL DEFAULT now(),
    checks          integer     NOT NULL DEFAULT 0,
    nudged_at       timestamptz,
    sweep_id        bigint      REFERENCES sweeps (id) ON DELETE SET NULL,
    settled_at      timestamptz,
    paid_msat       bigint      CHECK (paid_msat > 0),
    settle_index    bigint,
    late            boolean     NOT NULL DEFAULT false,
    CONSTRAINT invoices_hash_once UNIQUE (payment_hash),
    CONSTRAINT invoices_once UNIQUE (owner_kind, owner_id, purpose),
    CONSTRAINT invoices_settlement_is_whole CHECK ((settled_at IS NOT NULL) = (state = 'settled') AND (paid_msat IS NOT NULL) = (state = 'settled'))
);
CREATE INDEX invoices_due ON invoices (next_check) WHERE state = 'open';
CREATE INDEX invoices_watched ON invoices (next_check) WHERE state = 'expired';
CREATE INDEX invoices_sweep ON invoices (sweep_id) WHERE sweep_id IS NOT NULL;

-- What polling looks at. An invoice that the node has not answered for is its own step's business; an evaluation invoice that
-- nobody answered for ends when its time is over. An expired one is watched for a day more: a payment accepted before expiry
-- may settle after it.
CREATE VIEW due_invoices AS
SELECT id, next_check FROM invoices
 WHERE next_check <= now()
   AND ((state = 'open' AND (payment_request IS NOT NULL OR (purpose = 'eval' AND expires_at < now())))
        OR (state = 'expired' AND expires_at > now() - interval '1 day'));

-- The subscription's place, moved in the transaction that credits.
CREATE TABLE settle_cursor (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    settle_index bigint  NOT NULL DEFAULT 0
);
INSERT INTO settle_cursor DEFAULT VALUES;
