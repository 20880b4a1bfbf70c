-- API keys. A key is shown once, at its creation; what is kept is its hash, and enough of its ends to recognise it by.

CREATE TABLE api_keys (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_id       text        NOT NULL CONSTRAINT api_keys_id_once UNIQUE,
    key_hash     bytea       NOT NULL CONSTRAINT api_keys_hash_once UNIQUE CHECK (length(key_hash) = 32),
    hint         text        NOT NULL,
    label        text        NOT NULL DEFAULT '',
    tenant       text        NOT NULL,
    mode         text        NOT NULL CONSTRAINT api_keys_mode_known CHECK (mode IN ('live', 'test')),
    tier         text        NOT NULL DEFAULT 'free' CONSTRAINT api_keys_tier_known CHECK (tier IN ('free', 'pro', 'team')),
    scopes       text[]      NOT NULL
        CONSTRAINT api_keys_scopes_known CHECK (scopes <@ ARRAY ['inference', 'verification', 'admin'] AND cardinality(scopes) > 0),
    -- the key that this one replaced
    rotated_from bigint      REFERENCES api_keys (id),
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX api_keys_tenant ON api_keys (tenant);
