-- What models were asked and what it took, as counters: one row a model, outcome and latency bucket. A row a call would grow
-- without end, and pruning rows would make the counters fall.

CREATE TABLE model_calls (
    model      text   NOT NULL,
    outcome    text   NOT NULL,
    up_to_ms   bigint NOT NULL CHECK (up_to_ms > 0),
    calls      bigint NOT NULL DEFAULT 0 CHECK (calls >= 0),
    tokens_in  bigint NOT NULL DEFAULT 0 CHECK (tokens_in >= 0),
    tokens_out bigint NOT NULL DEFAULT 0 CHECK (tokens_out >= 0),
    latency_ms bigint NOT NULL DEFAULT 0 CHECK (latency_ms >= 0),
    PRIMARY KEY (model, outcome, up_to_ms)
);

-- Every scrape counts the quarantined steps, of which there are next to none among millions of ended ones. Built while the
-- release holds writers off: a concurrent build cannot run in the migration's transaction.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX steps_quarantined ON steps (id) WHERE state = 'quarantined';
