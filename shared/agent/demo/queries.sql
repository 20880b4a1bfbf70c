-- name: insert_demo
INSERT INTO demos (request) VALUES (%(request)s) RETURNING *;

-- name: demo
SELECT * FROM demos WHERE id = %(id)s;

-- name: lock_demo
SELECT * FROM demos WHERE id = %(id)s FOR UPDATE;

-- name: move_demo
UPDATE demos SET state = %(to_state)s, ended_at = CASE WHEN %(ends)s THEN now() END,
                 reason = coalesce(%(reason)s, reason), result = coalesce(%(result)s, result)
 WHERE id = %(id)s AND state = %(from_state)s;

-- name: prune_demos
-- a call that is still under way keeps its row: its steps end first, whatever they wait for
DELETE FROM demos WHERE created_at < now() - interval '1 day' AND ended_at IS NOT NULL;
