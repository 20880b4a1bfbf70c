-- The work machinery: steps with lease and fence, the outbox, ticks, events. Product rooms follow in their own files.

CREATE TABLE steps (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_kind  text        NOT NULL,
    owner_id    bigint      NOT NULL,
    name        text        NOT NULL,
    state       text        NOT NULL DEFAULT 'queued'
        CONSTRAINT steps_state_known CHECK (state IN ('queued', 'running', 'done', 'failed', 'quarantined')),
    fence       bigint      NOT NULL DEFAULT 0 CHECK (fence >= 0),
    attempts    integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    lease_until timestamptz,
    not_before  timestamptz NOT NULL DEFAULT now(),
    rung_at     timestamptz NOT NULL DEFAULT now(),
    fault       text,
    cid         text        NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    ended_at    timestamptz,
    CONSTRAINT steps_once UNIQUE (owner_kind, owner_id, name),
    CONSTRAINT steps_lease_while_running CHECK ((lease_until IS NOT NULL) = (state = 'running')),
    CONSTRAINT steps_end_is_dated CHECK ((ended_at IS NOT NULL) = (state IN ('done', 'failed', 'quarantined')))
);
CREATE INDEX steps_stuck ON steps (rung_at) WHERE state IN ('queued', 'running');

CREATE TABLE outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic        text        NOT NULL,
    payload      jsonb       NOT NULL,
    cid          text        NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    available_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX outbox_due ON outbox (available_at, id);

CREATE TABLE schedule (
    name     text        PRIMARY KEY,
    next_run timestamptz NOT NULL DEFAULT now(),
    last_run timestamptz
);

-- Proof that work is consumed, not that a process exists: each worker's canary task writes here.
CREATE TABLE canaries (
    queue   text        PRIMARY KEY,
    seen_at timestamptz NOT NULL
);

CREATE TABLE events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_kind text        NOT NULL,
    owner_id   bigint      NOT NULL,
    seq        bigint      NOT NULL CHECK (seq >= 1),
    name       text        NOT NULL,
    from_state text,
    to_state   text,
    body       jsonb       NOT NULL DEFAULT '{}',
    cid        text        NOT NULL DEFAULT '',
    at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT events_dense UNIQUE (owner_kind, owner_id, seq)
);

CREATE TABLE idempotency_keys (
    scope       text        NOT NULL,
    key         text        NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint bytea       NOT NULL CHECK (length(fingerprint) = 32),
    status      integer,
    body        jsonb,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key),
    CONSTRAINT idempotency_answer_is_whole CHECK ((status IS NULL) = (body IS NULL))
);
CREATE INDEX idempotency_age ON idempotency_keys (created_at);
