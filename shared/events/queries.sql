-- name: append
-- the caller holds the owner's row lock, so the next number is free of races; the constraint says so if it does not
INSERT INTO events (owner_kind, owner_id, seq, name, from_state, to_state, body, cid)
SELECT %(kind)s, %(id)s, coalesce(max(seq), 0) + 1, %(name)s, %(from_state)s, %(to_state)s, %(body)s::jsonb, %(cid)s
  FROM events WHERE owner_kind = %(kind)s AND owner_id = %(id)s
RETURNING seq;

-- name: prune
DELETE FROM events WHERE owner_kind = %(kind)s AND at < now() - make_interval(secs => %(age_s)s);

-- name: replay
SELECT seq, name, from_state, to_state, body, at FROM events
 WHERE owner_kind = %(kind)s AND owner_id = %(id)s AND seq > %(after)s ORDER BY seq;
