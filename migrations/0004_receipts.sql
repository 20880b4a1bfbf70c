-- Receipts, the log (an RFC 6962 tree kept as a Merkle Mountain Range), epochs, anchors.

CREATE TABLE signer_keys (
    kid              text        PRIMARY KEY,
    public_key       bytea       NOT NULL CHECK (length(public_key) = 32),
    valid_from_index bigint      NOT NULL CHECK (valid_from_index >= 0),
    valid_to_index   bigint      CHECK (valid_to_index >= valid_from_index),
    created_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tenants (
    tenant   text   PRIMARY KEY CHECK (length(tenant) = 64),
    last_seq bigint NOT NULL DEFAULT 0
);

CREATE TABLE receipts (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    receipt_id   text        NOT NULL CONSTRAINT receipts_id_once UNIQUE,
    owner_kind   text        NOT NULL,
    owner_id     bigint      NOT NULL,
    kind         text        NOT NULL CONSTRAINT receipts_kind_known CHECK (kind IN ('job')),
    tenant       text        NOT NULL REFERENCES tenants (tenant),
    tenant_seq   bigint      NOT NULL CHECK (tenant_seq >= 1),
    body         bytea       NOT NULL,
    receipt_hash bytea       NOT NULL CHECK (length(receipt_hash) = 32),
    signature    bytea       NOT NULL CHECK (length(signature) = 64),
    signer_kid   text        NOT NULL REFERENCES signer_keys (kid),
    issued_at    timestamptz NOT NULL,
    leaf_index   bigint      CONSTRAINT receipts_leaf_once UNIQUE,
    CONSTRAINT receipts_hash_once UNIQUE (receipt_hash),
    CONSTRAINT receipts_one_per_work UNIQUE (owner_kind, owner_id, kind),
    CONSTRAINT receipts_dense UNIQUE (tenant, tenant_seq)
);
CREATE INDEX receipts_pending ON receipts (id) WHERE leaf_index IS NULL;

-- Salts belong to the tenant and can be deleted: the commitment stays, the content becomes unprovable.
CREATE TABLE receipt_salts (
    receipt_id text  NOT NULL REFERENCES receipts (receipt_id),
    field      text  NOT NULL CONSTRAINT receipt_salts_field_known CHECK (field IN ('input', 'output')),
    salt       bytea NOT NULL CHECK (length(salt) = 32),
    PRIMARY KEY (receipt_id, field)
);

CREATE TABLE log_state (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    size       bigint      NOT NULL DEFAULT 0,
    peaks      bytea[]     NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO log_state DEFAULT VALUES;

CREATE TABLE log_nodes (
    pos  bigint PRIMARY KEY,
    hash bytea  NOT NULL CHECK (length(hash) = 32)
);

CREATE TABLE checkpoints (
    size       bigint      PRIMARY KEY,
    root       bytea       NOT NULL CHECK (length(root) = 32),
    note       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE epochs (
    number     bigint      PRIMARY KEY CHECK (number >= 1),
    epoch_id   text        NOT NULL CONSTRAINT epochs_id_once UNIQUE,
    state      text        NOT NULL DEFAULT 'open' CONSTRAINT epochs_state_known CHECK (state IN ('open', 'closed')),
    start_size bigint      NOT NULL,
    end_size   bigint,
    root       bytea       CHECK (length(root) = 32),
    opened_at  timestamptz NOT NULL DEFAULT now(),
    closed_at  timestamptz,
    CONSTRAINT epochs_closed_is_whole
        CHECK ((state = 'closed') = (end_size IS NOT NULL AND root IS NOT NULL AND closed_at IS NOT NULL)),
    CONSTRAINT epochs_never_empty CHECK (end_size IS NULL OR end_size > start_size)
);
CREATE UNIQUE INDEX epochs_one_open ON epochs (state) WHERE state = 'open';

CREATE FUNCTION epoch_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'closed' THEN
        RAISE EXCEPTION 'epoch % is closed', OLD.number USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER epochs_final BEFORE UPDATE ON epochs FOR EACH ROW EXECUTE FUNCTION epoch_is_final();

CREATE TABLE anchors (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target     text        NOT NULL CONSTRAINT anchors_target_known CHECK (target IN ('witness')),
    size       bigint      NOT NULL REFERENCES checkpoints (size),
    state      text        NOT NULL DEFAULT 'intended'
        CONSTRAINT anchors_state_known CHECK (state IN ('intended', 'submitted', 'confirmed', 'final', 'failed')),
    request    text        NOT NULL,
    evidence   text,
    target_key text,
    fault      text,
    tries      integer     NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    CONSTRAINT anchors_once UNIQUE (target, size),
    CONSTRAINT anchors_end_is_dated CHECK ((ended_at IS NOT NULL) = (state IN ('final', 'failed'))),
    CONSTRAINT anchors_final_has_evidence CHECK (state <> 'final' OR (evidence IS NOT NULL AND target_key IS NOT NULL))
);

-- What the API calls an epoch's status, derived here and nowhere else: any final anchor → anchored, all failed → failed.
CREATE VIEW epoch_views AS
SELECT epochs.*,
       CASE WHEN epochs.state = 'open' THEN 'open'
            WHEN own.any_final THEN 'anchored'
            WHEN own.all_failed THEN 'failed'
            ELSE 'anchoring' END AS status
  FROM epochs
  LEFT JOIN LATERAL (SELECT bool_or(anchors.state = 'final') AS any_final, bool_and(anchors.state = 'failed') AS all_failed
                       FROM anchors WHERE anchors.size = epochs.end_size) AS own ON true;

CREATE INDEX anchors_size ON anchors (size);
