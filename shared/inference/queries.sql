-- name: insert_run
INSERT INTO runs (run_id, tenant, api_key_id, mode, surface, streamed, detached, input, sealed_input, plan, policy_hash, model_passport_id,
                  model_requested, request_id, trace_id, project, input_salt, input_commitment, deadline_at)
VALUES (%(run_id)s, %(tenant)s, %(api_key_id)s, %(mode)s, %(surface)s, %(streamed)s, %(detached)s, %(input)s, %(sealed_input)s, %(plan)s,
        %(policy_hash)s, %(model_passport_id)s, %(model_requested)s, %(request_id)s, %(trace_id)s, %(project)s, %(input_salt)s,
        %(input_commitment)s, now() + make_interval(secs => %(deadline_s)s))
RETURNING id, created_at, deadline_at;

-- name: run
SELECT id, run_id, tenant, mode, surface, state, streamed, detached, plan, policy_hash, model_passport_id, model_requested, request_id,
       trace_id, project, input_salt, input_commitment, deadline_at, cancel_reason, streaming_since, created_at, forgotten_at, answer, finish_reason,
       compute_passport_id, runtime, model_answered, tokens_in, tokens_out, usage_reported, ttft_ms, total_latency_ms, used_fallback,
       fallback_reason, error_code, error_message, ended_at
  FROM runs WHERE id = %(id)s;

-- name: run_of
SELECT id, run_id, tenant, mode, surface, state, streamed, detached, plan, policy_hash, model_passport_id, model_requested, request_id,
       trace_id, project, input_salt, input_commitment, deadline_at, cancel_reason, streaming_since, created_at, forgotten_at, answer, finish_reason,
       compute_passport_id, runtime, model_answered, tokens_in, tokens_out, usage_reported, ttft_ms, total_latency_ms, used_fallback,
       fallback_reason, error_code, error_message, ended_at
  FROM runs WHERE run_id = %(run_id)s AND tenant = %(tenant)s;

-- name: runs_of
SELECT id, run_id, tenant, mode, surface, state, streamed, detached, plan, policy_hash, model_passport_id, model_requested, request_id,
       trace_id, project, input_salt, input_commitment, deadline_at, cancel_reason, streaming_since, created_at, forgotten_at, answer, finish_reason,
       compute_passport_id, runtime, model_answered, tokens_in, tokens_out, usage_reported, ttft_ms, total_latency_ms, used_fallback,
       fallback_reason, error_code, error_message, ended_at
  FROM runs
 WHERE tenant = %(tenant)s AND (%(before)s::bigint IS NULL OR id < %(before)s)
 ORDER BY id DESC LIMIT %(most)s;

-- name: lock_run
-- waited_ms, left_ms: by the database's clock, the one that stamped created_at and deadline_at
SELECT id, run_id, tenant, mode, surface, state, streamed, detached, plan, policy_hash, model_passport_id, model_requested, request_id,
       trace_id, project, input_salt, input_commitment, deadline_at, cancel_reason, streaming_since, created_at, compute_passport_id, input,
       sealed_input,
       (1000 * extract(epoch FROM clock_timestamp() - created_at))::bigint AS waited_ms,
       (1000 * extract(epoch FROM deadline_at - clock_timestamp()))::bigint AS left_ms,
       coalesce(left_at < clock_timestamp() - make_interval(secs => %(grace_s)s), false) AS is_deserted
  FROM runs WHERE id = %(id)s FOR UPDATE;

-- name: start_run
UPDATE runs SET state = %(to_state)s, started_at = coalesce(started_at, now()) WHERE id = %(id)s AND state = %(from_state)s;

-- name: begin_streaming
UPDATE runs SET streaming_since = now(), compute_passport_id = %(compute_passport_id)s
 WHERE id = %(id)s AND state = 'running' AND streaming_since IS NULL;

-- name: end_run
UPDATE runs SET state = %(to_state)s, ended_at = now(), sealed_input = NULL, answer = %(answer)s, finish_reason = %(finish_reason)s,
       cancel_reason = %(cancel_reason)s, compute_passport_id = %(compute_passport_id)s, runtime = %(runtime)s,
       model_answered = %(model_answered)s, tokens_in = %(tokens_in)s, tokens_out = %(tokens_out)s, usage_reported = %(tokens_reported)s,
       ttft_ms = %(ttft_ms)s, total_latency_ms = %(total_latency_ms)s, used_fallback = %(used_fallback)s,
       fallback_reason = %(fallback_reason)s, error_code = %(error_code)s, error_message = %(error_message)s
 WHERE id = %(id)s AND state = %(from_state)s;

-- name: insert_frames
INSERT INTO run_frames (run_id, frames) VALUES (%(id)s, %(frames)s);

-- name: frames
SELECT frames[%(after)s + 1:] AS frames, cardinality(frames) AS total FROM run_frames WHERE run_id = %(id)s;

-- name: insert_usage
INSERT INTO usage (owner_kind, owner_id, tenant, mode, route, outcome, tokens_in, tokens_out, usage_reported)
VALUES (%(owner_kind)s, %(owner_id)s, %(tenant)s, %(mode)s, %(route)s, %(outcome)s, %(tokens_in)s, %(tokens_out)s, %(tokens_reported)s);

-- name: ask_to_cancel
UPDATE runs SET cancel_reason = 'cancelled' WHERE id = %(id)s AND state = 'running' AND cancel_reason IS NULL;

-- name: leave
UPDATE runs SET left_at = now() WHERE id = %(id)s AND state IN ('queued', 'running') AND NOT detached AND left_at IS NULL;

-- name: stay
UPDATE runs SET left_at = NULL WHERE id = ANY(%(ids)s) AND left_at IS NOT NULL AND state IN ('queued', 'running');

-- name: ended_among
SELECT id FROM runs WHERE id = ANY(%(ids)s) AND ended_at IS NOT NULL;

-- name: cancelled_among
SELECT id, coalesce(cancel_reason, 'disconnected') AS reason FROM runs
 WHERE id = ANY(%(ids)s) AND (cancel_reason IS NOT NULL OR left_at < now() - make_interval(secs => %(grace_s)s));

-- name: overdue
-- What streams is left to its worker: its frames have to be fetched first, and no transaction waits for that.
SELECT id FROM runs
 WHERE state IN ('queued', 'running') AND deadline_at < now() - make_interval(secs => %(grace_s)s) AND streaming_since IS NULL
 ORDER BY deadline_at LIMIT 1000;

-- name: lock_overdue
SELECT 1 FROM runs
 WHERE id = %(id)s AND state IN ('queued', 'running') AND deadline_at < now() - make_interval(secs => %(grace_s)s) AND streaming_since IS NULL
   FOR UPDATE SKIP LOCKED;

-- name: forget
-- The frames' rows go in the same statement, and the salts that would open the receipts' commitments.
WITH old AS MATERIALIZED (
  SELECT id FROM runs
   WHERE ended_at < now() - make_interval(days => %(days)s) AND forgotten_at IS NULL
   ORDER BY ended_at LIMIT %(most)s FOR UPDATE SKIP LOCKED),
frames_gone AS (DELETE FROM run_frames USING old WHERE run_frames.run_id = old.id)
UPDATE runs SET input = NULL, answer = NULL, input_salt = NULL, forgotten_at = now() FROM old WHERE runs.id = old.id
RETURNING runs.id;

-- name: run_faults
-- A step is over where it is done, given up or quarantined: then nobody will end its run.
SELECT (SELECT count(*) FROM runs WHERE ended_at IS NULL AND NOT EXISTS
         (SELECT 1 FROM steps WHERE owner_kind = 'run' AND owner_id = runs.id AND steps.state IN ('queued', 'running'))) AS stranded,
       (SELECT count(*) FROM runs WHERE ended_at IS NOT NULL AND NOT EXISTS
         (SELECT 1 FROM usage WHERE owner_kind = 'run' AND owner_id = runs.id)) AS without_usage,
       (SELECT count(*) FROM runs WHERE ended_at IS NOT NULL AND NOT EXISTS
         (SELECT 1 FROM receipts WHERE receipts.receipt_id = runs.run_id AND kind = 'inference')) AS without_receipt,
       (SELECT count(*) FROM runs WHERE ended_at IS NOT NULL AND sealed_input IS NOT NULL) AS still_sealed,
       (SELECT coalesce(max(extract(epoch FROM now() - deadline_at)), 0)::float8 FROM runs
         WHERE state IN ('queued', 'running') AND deadline_at < now()) AS overdue_s;

-- name: runs_by_state
SELECT state, count(*) AS runs, greatest(0, extract(epoch FROM now() - min(created_at)))::float8 AS oldest_s
  FROM runs WHERE state IN ('queued', 'running') GROUP BY state;
