-- name: insert
INSERT INTO plan_purchases (public_id, tenant, api_key_id, tier, price_usd)
VALUES (%(public_id)s, %(tenant)s, %(api_key_id)s, %(tier)s, %(price_usd)s) RETURNING *;

-- name: purchase
SELECT * FROM plan_purchases WHERE id = %(id)s;

-- name: by_public_id
SELECT * FROM plan_purchases WHERE public_id = %(public_id)s;

-- name: purchases_of
SELECT * FROM plan_purchases
 WHERE tenant = %(tenant)s AND (%(before)s::bigint IS NULL OR id < %(before)s)
 ORDER BY id DESC LIMIT %(most)s;

-- name: lock
SELECT * FROM plan_purchases WHERE id = %(id)s FOR UPDATE;

-- name: move
UPDATE plan_purchases SET state = %(to_state)s, paid_at = CASE WHEN %(pays)s THEN now() END
 WHERE id = %(id)s AND state = %(from_state)s;

-- name: serialize
SELECT pg_advisory_xact_lock(hashtextextended('purchases:' || %(tenant)s::text, 0));

-- name: unpaid_of
SELECT count(*) AS unpaid FROM plan_purchases WHERE tenant = %(tenant)s AND state = 'awaiting_payment';
