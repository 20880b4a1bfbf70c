-- Double-entry ledger in millisatoshi. Assets grow with positive amounts; liabilities and revenue with negative ones.

CREATE TABLE entries (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text        NOT NULL,
    ref        text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT entries_once UNIQUE (kind, ref)
);

CREATE TABLE postings (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entry_id    bigint NOT NULL REFERENCES entries (id),
    account     text   NOT NULL
        CONSTRAINT postings_account_known
            CHECK (account IN ('node', 'customer', 'debts_payable', 'revenue_eval', 'revenue_work', 'routing_fees', 'suspense')),
    owner_kind  text,
    owner_id    bigint,
    amount_msat bigint NOT NULL CHECK (amount_msat <> 0),
    CONSTRAINT postings_owner_is_whole CHECK ((owner_kind IS NULL) = (owner_id IS NULL)),
    CONSTRAINT postings_customer_has_owner CHECK (account NOT IN ('customer', 'debts_payable') OR owner_id IS NOT NULL)
);
CREATE INDEX postings_entry ON postings (entry_id);
CREATE INDEX postings_owner ON postings (owner_kind, owner_id, account);

CREATE FUNCTION entry_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    imbalance numeric;
    touched   bigint;
BEGIN
    touched := CASE TG_OP WHEN 'DELETE' THEN OLD.entry_id ELSE NEW.entry_id END;
    SELECT sum(amount_msat) INTO imbalance FROM postings WHERE entry_id = touched;
    IF imbalance IS DISTINCT FROM 0 THEN
        RAISE EXCEPTION 'ledger entry % does not balance: %', touched, imbalance USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER postings_balance
    AFTER INSERT OR UPDATE OR DELETE ON postings
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION entry_balances();

CREATE FUNCTION is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE ON entries FOR EACH ROW EXECUTE FUNCTION is_append_only();
CREATE TRIGGER postings_append_only BEFORE UPDATE OR DELETE ON postings FOR EACH ROW EXECUTE FUNCTION is_append_only();

CREATE TRIGGER entries_never_emptied BEFORE TRUNCATE ON entries FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();
CREATE TRIGGER postings_never_emptied BEFORE TRUNCATE ON postings FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();

CREATE TABLE debts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_kind  text        NOT NULL,
    owner_id    bigint      NOT NULL,
    reason      text        NOT NULL
        CONSTRAINT debts_reason_known CHECK (reason IN ('overpaid', 'underpaid', 'late', 'evaluation_failed', 'work_failed', 'unused', 'not_priced')),
    ref         text        NOT NULL,
    amount_msat bigint      NOT NULL CHECK (amount_msat > 0),
    state       text        NOT NULL DEFAULT 'open' CONSTRAINT debts_state_known CHECK (state IN ('open', 'paid')),
    entry_id    bigint      NOT NULL REFERENCES entries (id),
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT debts_once UNIQUE (owner_kind, owner_id, reason, ref)
);
CREATE INDEX debts_open ON debts (owner_kind, owner_id) WHERE state = 'open';
