-- The catalogue: passports, what compute nodes say of themselves, and what we met when we called them.

CREATE TABLE passports (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    passport_id   text        NOT NULL CONSTRAINT passports_id_once UNIQUE,
    type          text        NOT NULL CONSTRAINT passports_type_known
        CHECK (type IN ('model', 'compute', 'tool', 'dataset', 'agent', 'voice', 'other')),
    status        text        NOT NULL DEFAULT 'active' CONSTRAINT passports_status_known CHECK (status IN ('active', 'deprecated', 'revoked')),
    -- whose key made it, and whom it belongs to by its maker's word
    tenant        text        NOT NULL,
    owner         text        NOT NULL,
    name          text        NOT NULL DEFAULT '',
    description   text        NOT NULL DEFAULT '',
    version       text        NOT NULL DEFAULT '',
    tags          text[]      NOT NULL DEFAULT '{}',
    metadata      jsonb       NOT NULL,
    metadata_hash bytea       NOT NULL CHECK (length(metadata_hash) = 32),
    -- beside the metadata, whose schemas know neither
    pricing       jsonb,
    endpoints     jsonb,
    -- of the simulated model: for test keys, and for nobody else
    simulated     boolean     NOT NULL DEFAULT false,
    -- made from the settings, which go on deciding about it
    configured    boolean     NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT passports_only_configured_ones_are_simulated CHECK (configured OR NOT simulated)
);
CREATE INDEX passports_of_tenant ON passports (tenant, type, status, id);
CREATE INDEX passports_by_name ON passports (name) WHERE type = 'model';
CREATE INDEX passports_tags ON passports USING gin (tags);

-- The newest word of each node; older ones below. A node that has not spoken for 30 seconds counts as unknown.
CREATE TABLE heartbeats (
    passport_id       text        PRIMARY KEY REFERENCES passports (passport_id),
    status            text        NOT NULL CONSTRAINT heartbeats_status_known CHECK (status IN ('healthy', 'degraded', 'down')),
    queue_depth       integer     CHECK (queue_depth >= 0),
    price_per_1k_usd  numeric     CHECK (price_per_1k_usd >= 0),
    p95_ms            integer     CHECK (p95_ms >= 0),
    seen_at           timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE heartbeat_history (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    passport_id       text        NOT NULL REFERENCES passports (passport_id),
    status            text        NOT NULL,
    queue_depth       integer,
    price_per_1k_usd  numeric,
    p95_ms            integer,
    seen_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX heartbeat_history_of_node ON heartbeat_history (passport_id, seen_at);
CREATE INDEX heartbeat_history_age ON heartbeat_history (seen_at);

-- What we met when we called a node. Apart from its heartbeats, so that neither overwrites the other.
CREATE TABLE node_faults (
    passport_id text        PRIMARY KEY REFERENCES passports (passport_id),
    in_a_row    integer     NOT NULL CHECK (in_a_row >= 0),
    in_all      bigint      NOT NULL CHECK (in_all >= in_a_row),
    code        text        NOT NULL,
    at          timestamptz NOT NULL DEFAULT now()
);
