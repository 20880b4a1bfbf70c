-- Plans: monthly quotas of verifications, what is bought over Lightning, and who may do more for how long.

-- Whom a key was made for, where somebody made it for himself.
ALTER TABLE api_keys ADD COLUMN email text;

-- What a tenant has used in a month. One statement takes: it finds room and counts, or does neither.
CREATE TABLE quotas (
    tenant     text    NOT NULL,
    mode       text    NOT NULL CONSTRAINT quotas_mode_known CHECK (mode IN ('live', 'test')),
    period     text    NOT NULL CHECK (period ~ '^[0-9]{4}-[0-9]{2}$'),
    forward    integer NOT NULL DEFAULT 0 CHECK (forward >= 0),
    reverse    integer NOT NULL DEFAULT 0 CHECK (reverse >= 0),
    tokens_in  bigint  NOT NULL DEFAULT 0 CHECK (tokens_in >= 0),
    tokens_out bigint  NOT NULL DEFAULT 0 CHECK (tokens_out >= 0),
    PRIMARY KEY (tenant, mode, period)
);

-- Each unit that was taken, so that it is given back once, and to its own month.
CREATE TABLE quota_units (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant        text        NOT NULL,
    mode          text        NOT NULL,
    period        text        NOT NULL,
    pipeline      text        NOT NULL CONSTRAINT quota_units_pipeline_known CHECK (pipeline IN ('forward', 'reverse')),
    taken_at      timestamptz NOT NULL DEFAULT now(),
    given_back_at timestamptz,
    FOREIGN KEY (tenant, mode, period) REFERENCES quotas (tenant, mode, period)
);
CREATE INDEX quota_units_quota ON quota_units (tenant, mode, period);

-- squawk-ignore adding-foreign-key-constraint, constraint-missing-not-valid
ALTER TABLE verifications ADD CONSTRAINT verifications_unit_taken FOREIGN KEY (quota_unit) REFERENCES quota_units (id);
-- squawk-ignore disallowed-unique-constraint, constraint-missing-not-valid
ALTER TABLE verifications ADD CONSTRAINT verifications_unit_once UNIQUE (quota_unit);

-- One plan asked for and, once its invoice is paid, bought. It owns its invoice.
CREATE TABLE plan_purchases (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id  text        NOT NULL CONSTRAINT plan_purchases_public_id_once UNIQUE,
    state      text        NOT NULL DEFAULT 'awaiting_payment'
        CONSTRAINT plan_purchases_state_known CHECK (state IN ('awaiting_payment', 'paid', 'expired')),
    tenant     text        NOT NULL,
    api_key_id bigint      REFERENCES api_keys (id),
    tier       text        NOT NULL CONSTRAINT plan_purchases_tier_known CHECK (tier IN ('pro', 'team')),
    price_usd  numeric     NOT NULL CHECK (price_usd > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    paid_at    timestamptz,
    CONSTRAINT plan_purchases_payment_is_dated CHECK ((paid_at IS NOT NULL) = (state = 'paid'))
);
CREATE INDEX plan_purchases_unpaid ON plan_purchases (tenant) WHERE state = 'awaiting_payment';

-- What a payment bought: a tier for a time. Those of one tenant and tier follow one another.
CREATE TABLE plan_grants (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant      text        NOT NULL,
    tier        text        NOT NULL CONSTRAINT plan_grants_tier_known CHECK (tier IN ('pro', 'team')),
    purchase_id bigint      NOT NULL CONSTRAINT plan_grants_once UNIQUE REFERENCES plan_purchases (id),
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL CHECK (ends_at > starts_at)
);
CREATE INDEX plan_grants_tenant ON plan_grants (tenant, ends_at);

-- squawk-ignore ban-drop-constraint
ALTER TABLE invoices DROP CONSTRAINT invoices_purpose_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE invoices ADD CONSTRAINT invoices_purpose_known CHECK (purpose IN ('eval', 'work', 'deposit', 'topup', 'plan'));
-- squawk-ignore ban-drop-constraint
ALTER TABLE postings DROP CONSTRAINT postings_account_known;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE postings ADD CONSTRAINT postings_account_known CHECK (account IN ('node', 'customer', 'debts_payable', 'revenue_eval', 'revenue_work',
                                                                              'revenue_plans', 'routing_fees', 'suspense'));
