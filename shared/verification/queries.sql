-- name: insert_verification
INSERT INTO verifications (request_id, pipeline, tenant, api_key_id, mode, model, language, subject, context, request_salt, request_commitment,
                           input_salt, input_commitment, stage, quota_unit, deadline_at)
VALUES (%(request_id)s, %(pipeline)s, %(tenant)s, %(api_key_id)s, %(mode)s, %(model)s, %(language)s, %(subject)s, %(context)s, %(request_salt)s,
        %(request_commitment)s, %(input_salt)s, %(input_commitment)s, %(stage)s, %(unit)s, now() + make_interval(secs => %(deadline_s)s))
RETURNING id;

-- name: verification
SELECT id, request_id, pipeline, tenant, mode, model, language, state, stage, round, quota_unit, cancel_asked_at, error_code, error_message,
       created_at, started_at, ended_at, erased_at, (1000 * extract(epoch FROM ended_at - accepted_at))::bigint AS duration_ms
  FROM verifications WHERE id = %(id)s;

-- name: verification_of
SELECT id, request_id, pipeline, tenant, mode, model, language, state, stage, round, quota_unit, cancel_asked_at, error_code, error_message,
       created_at, started_at, ended_at, erased_at, (1000 * extract(epoch FROM ended_at - accepted_at))::bigint AS duration_ms
  FROM verifications WHERE request_id = %(request_id)s AND tenant = %(tenant)s;

-- name: verifications_of
SELECT id, request_id, pipeline, tenant, mode, model, language, state, stage, round, quota_unit, cancel_asked_at, error_code, error_message,
       created_at, started_at, ended_at, erased_at, (1000 * extract(epoch FROM ended_at - accepted_at))::bigint AS duration_ms
  FROM verifications
 WHERE tenant = %(tenant)s AND (%(before)s::bigint IS NULL OR id < %(before)s)
 ORDER BY id DESC LIMIT %(most)s;

-- name: lock_verification
-- left_s: by the database's clock, the one that stamped deadline_at
SELECT id, request_id, pipeline, tenant, mode, model, language, state, stage, round, quota_unit, cancel_asked_at, error_code, error_message,
       created_at, started_at, ended_at, erased_at, (1000 * extract(epoch FROM ended_at - accepted_at))::bigint AS duration_ms,
       extract(epoch FROM deadline_at - clock_timestamp())::float8 AS left_s
  FROM verifications WHERE id = %(id)s FOR UPDATE;

-- name: submission
SELECT subject, context FROM verifications WHERE id = %(id)s;

-- name: commitments
SELECT request_salt, request_commitment, input_salt, input_commitment FROM verifications WHERE id = %(id)s AND erased_at IS NULL;

-- name: move
UPDATE verifications SET state = %(to_state)s, started_at = coalesce(started_at, now()) WHERE id = %(id)s AND state = %(from_state)s;

-- name: advance
UPDATE verifications SET stage = %(to_stage)s WHERE id = %(id)s AND stage = %(from_stage)s AND state = 'running';

-- name: end_verification
UPDATE verifications SET state = %(to_state)s, ended_at = now(), error_code = %(error_code)s, error_message = %(error_message)s,
       quota_unit = CASE WHEN %(keeps_unit)s THEN quota_unit END
 WHERE id = %(id)s AND state = %(from_state)s
RETURNING (1000 * extract(epoch FROM ended_at - accepted_at))::bigint AS duration_ms;

-- name: resume
UPDATE verifications SET state = %(to_state)s, ended_at = NULL, error_code = NULL, error_message = NULL, quota_unit = %(unit)s,
       round = round + 1, model = %(model)s, accepted_at = now(), cancel_asked_at = NULL, deadline_at = now() + make_interval(secs => %(deadline_s)s)
 WHERE id = %(id)s AND state = %(from_state)s AND erased_at IS NULL;

-- name: ask_to_cancel
UPDATE verifications SET cancel_asked_at = coalesce(cancel_asked_at, now()) WHERE id = %(id)s AND state IN ('queued', 'running');

-- name: is_at_work
SELECT EXISTS (SELECT 1 FROM verification_stages WHERE verification_id = %(id)s AND state = 'running') AS is_at_work;

-- name: overdue
SELECT id FROM verifications
 WHERE state IN ('queued', 'running')
   AND (deadline_at < now() - make_interval(secs => %(grace_s)s) OR cancel_asked_at < now() - make_interval(secs => %(grace_s)s))
 ORDER BY deadline_at LIMIT 1000;

-- name: lock_overdue
SELECT id, request_id, pipeline, tenant, mode, model, language, state, stage, round, quota_unit, cancel_asked_at, error_code, error_message,
       created_at, started_at, ended_at, erased_at, (1000 * extract(epoch FROM ended_at - accepted_at))::bigint AS duration_ms
  FROM verifications
 WHERE id = %(id)s AND state IN ('queued', 'running')
   AND (deadline_at < now() - make_interval(secs => %(grace_s)s) OR cancel_asked_at < now() - make_interval(secs => %(grace_s)s))
   FOR UPDATE SKIP LOCKED;

-- name: erase
WITH aged AS MATERIALIZED (
  SELECT id FROM verifications
   WHERE erased_at IS NULL AND ended_at < now() - make_interval(days => %(age_days)s)
   ORDER BY ended_at LIMIT %(most)s FOR UPDATE SKIP LOCKED),
emptied AS (UPDATE verification_stages SET output = NULL FROM aged WHERE verification_id = aged.id)
UPDATE verifications SET subject = NULL, context = NULL, request_salt = NULL, input_salt = NULL, erased_at = now() FROM aged
 WHERE verifications.id = aged.id
RETURNING verifications.id, verifications.pipeline;

-- name: open_attempt
INSERT INTO verification_stages (verification_id, stage, attempt, input_hash)
SELECT %(id)s, %(stage)s, coalesce(max(attempt), 0) + 1, %(input_hash)s
  FROM verification_stages WHERE verification_id = %(id)s AND stage = %(stage)s
RETURNING id, attempt;

-- name: close_attempt
UPDATE verification_stages SET state = %(state)s, ended_at = now(), output = %(output)s, calls = %(calls)s, tokens_in = %(tokens_in)s,
       tokens_out = %(tokens_out)s, cost_microusd = %(cost_microusd)s, ttft_ms = %(ttft_ms)s, model = %(model)s, fault = %(fault)s
 WHERE id = %(attempt_id)s AND state = 'running';

-- name: close_left_attempts
UPDATE verification_stages SET state = %(state)s, ended_at = now() WHERE verification_id = %(id)s AND state = 'running';

-- name: outputs
SELECT stage, output FROM verification_stages WHERE verification_id = %(id)s AND state = 'done';

-- name: stage_rows
SELECT stage, attempt, state, input_hash, calls, tokens_in, tokens_out, cost_microusd, model, fault, ttft_ms, started_at, ended_at,
       (1000 * extract(epoch FROM ended_at - started_at))::bigint AS duration_ms
  FROM verification_stages WHERE verification_id = %(id)s ORDER BY id;

-- name: usage_of
-- What was given up on the way to an answer is the operator's; what a cancelled one had generated counts.
SELECT verification_id, sum(calls)::bigint AS calls, sum(tokens_in)::bigint AS tokens_in, sum(tokens_out)::bigint AS tokens_out,
       sum(cost_microusd)::bigint AS cost_microusd
  FROM verification_stages WHERE verification_id = ANY(%(ids)s) AND state IN ('done', 'abandoned') GROUP BY verification_id;

-- name: verification_faults
-- A step is over where it is done, given up or quarantined: then nobody will end its verification but the tick, once its time is up.
SELECT (SELECT count(*) FROM verifications WHERE ended_at IS NULL AND NOT EXISTS
         (SELECT 1 FROM steps WHERE owner_kind = pipeline AND owner_id = verifications.id AND steps.state IN ('queued', 'running'))) AS stranded,
       (SELECT count(*) FROM verifications WHERE state IN ('complete', 'cancelled') AND NOT EXISTS
         (SELECT 1 FROM receipts WHERE owner_kind = pipeline AND owner_id = verifications.id AND kind = 'verification')) AS without_receipt,
       (SELECT coalesce(max(extract(epoch FROM now() - deadline_at)), 0)::float8 FROM verifications
         WHERE state IN ('queued', 'running') AND deadline_at < now()) AS overdue_s;

-- name: verifications_by_state
SELECT state, count(*) AS verifications, greatest(0, extract(epoch FROM now() - min(accepted_at)))::float8 AS oldest_s
  FROM verifications WHERE state IN ('queued', 'running') GROUP BY state;
