-- name: insert_job
INSERT INTO jobs (public_id, request, address_hash, eval_amount_msat, prepaid)
VALUES (%(public_id)s, %(request)s, %(address_hash)s, %(eval_amount_msat)s, %(prepaid)s) RETURNING *;

-- name: unpaid_of_address
SELECT (SELECT count(*) FROM jobs
         WHERE address_hash = %(address_hash)s AND state IN ('awaiting_eval_payment', 'awaiting_work_payment'))
     + (SELECT count(*) FROM sessions WHERE address_hash = %(address_hash)s AND state = 'awaiting_payment') AS unpaid;

-- name: serialize_address
SELECT pg_advisory_xact_lock(hashtextextended('jobs:' || encode(%(address_hash)s, 'hex'), 0));

-- name: job_by_public_id
SELECT * FROM jobs WHERE public_id = %(public_id)s;

-- name: job
SELECT * FROM jobs WHERE id = %(id)s;

-- name: lock_job
SELECT * FROM jobs WHERE id = %(id)s FOR UPDATE;

-- name: move_job
UPDATE jobs SET state = %(to_state)s, ended_at = CASE WHEN %(ends)s THEN now() END,
                reason = coalesce(%(reason)s, reason),
                error_message = coalesce(%(error_message)s, error_message)
 WHERE id = %(id)s AND state = %(from_state)s;

-- name: record_evaluation
UPDATE jobs SET reason = %(reason)s, eval_tokens_in = %(tokens_in)s, eval_tokens_out = %(tokens_out)s WHERE id = %(id)s;

-- name: record_estimate
UPDATE jobs SET estimated_cost_usd = %(cost_usd)s, margin_pct = %(margin_pct)s, btc_price_usd = %(btc_price_usd)s WHERE id = %(id)s;

-- name: record_work_payment
UPDATE jobs SET work_amount_msat = %(paid_msat)s WHERE id = %(id)s;

-- name: record_actual
UPDATE jobs SET result = %(result)s, tokens_in = %(tokens_in)s, tokens_out = %(tokens_out)s, actual_cost_usd = %(cost_usd)s,
                actual_charge_usd = %(charge_usd)s, charged_msat = %(charged_msat)s
 WHERE id = %(id)s;

-- name: count_model_call
INSERT INTO model_calls (model, outcome, up_to_ms, calls, tokens_in, tokens_out, latency_ms)
VALUES (%(model)s, %(outcome)s, %(up_to_ms)s, 1, %(tokens_in)s, %(tokens_out)s, %(latency_ms)s)
ON CONFLICT (model, outcome, up_to_ms) DO UPDATE
   SET calls = model_calls.calls + 1, tokens_in = model_calls.tokens_in + excluded.tokens_in,
       tokens_out = model_calls.tokens_out + excluded.tokens_out, latency_ms = model_calls.latency_ms + excluded.latency_ms;

-- name: model_calls
SELECT model, outcome, up_to_ms, calls, tokens_in, tokens_out, latency_ms FROM model_calls ORDER BY model, outcome, up_to_ms;

-- name: ended_among
SELECT id FROM jobs WHERE id = ANY(%(ids)s) AND ended_at IS NOT NULL ORDER BY id;

-- name: one_view
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: keep_reconciliation
INSERT INTO reconciliations (differences, invoices, payments, began_at) VALUES (%(differences)s::jsonb, %(invoices)s, %(payments)s, %(began_at)s);

-- name: prune_reconciliations
DELETE FROM reconciliations WHERE id <= (SELECT max(id) - 100 FROM reconciliations);

-- name: last_reconciliation
SELECT differences, jsonb_array_length(differences) AS found, invoices, payments, extract(epoch FROM now() - ended_at)::float8 AS age_s
  FROM reconciliations ORDER BY id DESC LIMIT 1;
