-- name: insert_session
INSERT INTO sessions (public_id, address_hash, deposit_msat, expires_at)
VALUES (%(public_id)s, %(address_hash)s, %(deposit_msat)s, now() + make_interval(secs => %(life_s)s)) RETURNING *;

-- name: session
SELECT * FROM sessions WHERE id = %(id)s;

-- name: session_by_public_id
SELECT * FROM sessions WHERE public_id = %(public_id)s;

-- name: lock_session
SELECT * FROM sessions WHERE id = %(id)s FOR UPDATE;

-- name: balance
-- one statement, one moment: what a request reserves between two of them could exceed what the first one saw
SELECT coalesce((SELECT -sum(amount_msat) FROM postings
                  WHERE account = 'customer' AND owner_kind = 'session' AND owner_id = %(id)s), 0)::bigint AS held_msat,
       coalesce((SELECT sum(amount_msat) FROM reservations
                  WHERE owner_kind = 'session' AND owner_id = %(id)s AND state = 'open'), 0)::bigint AS reserved_msat;

-- name: move_session
UPDATE sessions
   SET state = %(to_state)s,
       closed = closed OR %(closes)s,
       activated_at = CASE WHEN %(activates)s THEN coalesce(activated_at, now()) ELSE activated_at END,
       expires_at = CASE WHEN %(activates)s THEN now() + make_interval(secs => %(idle_s)s) ELSE expires_at END,
       ended_at = CASE WHEN %(ends)s THEN now() END
 WHERE id = %(id)s AND state = %(from_state)s;

-- name: slide_session
UPDATE sessions SET expires_at = now() + make_interval(secs => %(idle_s)s) WHERE id = %(id)s;

-- name: take_idle
SELECT * FROM sessions
 WHERE state IN ('active', 'paused') AND expires_at < now()
   AND NOT EXISTS (SELECT 1 FROM reservations
                    WHERE owner_kind = 'session' AND owner_id = sessions.id AND reservations.state = 'open')
 ORDER BY expires_at LIMIT 100 FOR UPDATE SKIP LOCKED;

-- name: insert_request
INSERT INTO session_requests (public_id, session_id, request, reserved_msat, btc_price_usd, price_source, margin_pct)
VALUES (%(public_id)s, %(session_id)s, %(request)s, %(reserved_msat)s, %(btc_price_usd)s, %(price_source)s, %(margin_pct)s) RETURNING *;

-- name: request
SELECT * FROM session_requests WHERE id = %(id)s;

-- name: request_by_public_id
SELECT * FROM session_requests WHERE session_id = %(session_id)s AND public_id = %(public_id)s;

-- name: requests_of
SELECT * FROM session_requests
 WHERE session_id = %(session_id)s AND (%(before)s::bigint IS NULL OR id < %(before)s)
 ORDER BY id DESC LIMIT %(most)s;

-- name: record_judgement
UPDATE session_requests SET reason = %(reason)s, eval_tokens_in = %(tokens_in)s, eval_tokens_out = %(tokens_out)s WHERE id = %(id)s;

-- name: move_request
UPDATE session_requests
   SET state = %(to_state)s, result = %(result)s, error_message = %(error_message)s, tokens_in = %(tokens_in)s,
       tokens_out = %(tokens_out)s, eval_msat = %(eval_msat)s, work_msat = %(work_msat)s,
       ended_at = CASE WHEN %(ends)s THEN now() END
 WHERE id = %(id)s AND state = %(from_state)s;

-- name: sessions_by_state
SELECT state, count(*) AS sessions FROM sessions GROUP BY state;

-- name: requests_running
SELECT state, count(*) AS requests, extract(epoch FROM now() - min(created_at))::float8 AS oldest_s
  FROM session_requests WHERE state IN ('evaluating', 'executing') GROUP BY state;

-- name: overdue_sessions
SELECT coalesce(max(extract(epoch FROM now() - expires_at)), 0)::float8 AS overdue_s
  FROM sessions
 WHERE state IN ('active', 'paused') AND expires_at < now()
   AND NOT EXISTS (SELECT 1 FROM reservations
                    WHERE owner_kind = 'session' AND owner_id = sessions.id AND reservations.state = 'open');

-- name: ended_among
SELECT id FROM sessions WHERE id = ANY(%(ids)s) AND ended_at IS NOT NULL ORDER BY id;
