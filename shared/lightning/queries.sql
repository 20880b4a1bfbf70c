-- name: insert
INSERT INTO invoices (owner_kind, owner_id, purpose, preimage_salt, payment_hash, amount_msat, memo, btc_price_usd, price_source, expires_at,
                      next_check)
VALUES (%(kind)s, %(id)s, %(purpose)s, %(preimage_salt)s, %(payment_hash)s, %(amount_msat)s, %(memo)s, %(btc_price_usd)s, %(price_source)s,
        now() + make_interval(secs => %(expiry_s)s), now() + interval '2 s')
ON CONFLICT DO NOTHING;

-- name: of_owner
SELECT * FROM invoices WHERE owner_kind = %(kind)s AND owner_id = %(id)s ORDER BY id;

-- name: by_purpose
SELECT * FROM invoices WHERE owner_kind = %(kind)s AND owner_id = %(id)s AND purpose = %(purpose)s
 ORDER BY id DESC LIMIT 1;

-- name: by_hash
SELECT * FROM invoices WHERE payment_hash = %(payment_hash)s;

-- name: by_id
SELECT * FROM invoices WHERE id = %(invoice_id)s;

-- name: opened
UPDATE invoices SET payment_request = %(payment_request)s, expires_at = %(expires_at)s, next_check = now() + interval '2 s'
 WHERE id = %(invoice_id)s AND state = 'open' AND payment_request IS NULL;

-- name: settled
-- The one statement that makes an invoice money: it succeeds once, from `open` or, late, from `expired`.
UPDATE invoices SET state = 'settled', late = (state = 'expired'), settled_at = %(settled_at)s, paid_msat = %(paid_msat)s,
                    settle_index = %(settle_index)s, sweep_id = NULL
 WHERE id = %(invoice_id)s AND state IN ('open', 'expired')
RETURNING *;

-- name: lapsed
UPDATE invoices SET state = 'expired', next_check = now() + interval '30 s', checks = 0, sweep_id = NULL
 WHERE id = %(invoice_id)s AND state = 'open' RETURNING id;

-- name: cursor
SELECT settle_index FROM settle_cursor;

-- name: move_cursor
UPDATE settle_cursor SET settle_index = greatest(settle_index, %(settle_index)s);

-- name: insert_sweep
INSERT INTO sweeps (reason) VALUES (%(reason)s) RETURNING id;

-- name: anything_due
SELECT EXISTS (SELECT 1 FROM due_invoices) AS due;

-- name: take_due
WITH due AS MATERIALIZED (
  SELECT id FROM invoices WHERE id IN (SELECT id FROM due_invoices ORDER BY next_check LIMIT 200) FOR UPDATE SKIP LOCKED)
UPDATE invoices SET checks = checks + 1, sweep_id = %(sweep_id)s,
       next_check = now() + CASE state WHEN 'open' THEN least(60, 2 ^ least(checks, 6)) ELSE least(3600, 30 * 2 ^ least(checks, 7)) END
                          * (0.8 + 0.4 * random()) * interval '1 s'
  FROM due WHERE invoices.id = due.id;

-- name: recall
-- The bounds lie above the longest waits that take_due sets: further ahead is what a clock stamped that was set back since.
UPDATE invoices SET next_check = now()
 WHERE (state = 'open' AND next_check > now() + CASE WHEN %(all)s THEN interval '0' ELSE interval '2 min' END)
    OR (state = 'expired' AND next_check > now() + CASE WHEN %(all)s THEN interval '0' ELSE interval '2 h' END);

-- name: claim_nudge
-- However many ask: one look a second for each invoice. A tick's sweep takes seconds, so who asks does not wait for it; the
-- sweep looks once more than needed then, and leaves the invoice's end to this one.
UPDATE invoices SET nudged_at = now()
 WHERE owner_kind = %(kind)s AND owner_id = %(id)s AND state = 'open' AND payment_request IS NOT NULL
   AND (nudged_at IS NULL OR nudged_at NOT BETWEEN now() - interval '1 s' AND now() + interval '1 s')
   AND (sweep_id IS NULL OR sweep_id IN (SELECT id FROM sweeps WHERE reason = 'tick' OR created_at < now() - interval '30 s'))
RETURNING id;

-- name: assign_to_sweep
UPDATE invoices SET sweep_id = %(sweep_id)s WHERE id = ANY(%(ids)s);

-- name: in_sweep
SELECT * FROM invoices WHERE sweep_id = %(sweep_id)s ORDER BY id;

-- name: leave_sweep
UPDATE invoices SET sweep_id = NULL WHERE sweep_id = %(sweep_id)s;

-- name: prune_sweeps
DELETE FROM sweeps WHERE created_at < now() - interval '1 hour';

-- name: open_invoices
-- overdue is what polling should have ended: not a work invoice whose own step still waits for the node (see due_invoices)
SELECT purpose, count(*) AS invoices,
       greatest(0, max(extract(epoch FROM now() - expires_at)) FILTER (WHERE payment_request IS NOT NULL OR purpose <> 'work'))::float8
         AS overdue_s
  FROM invoices WHERE state = 'open' GROUP BY purpose;

-- name: insert_payout
INSERT INTO payouts (owner_kind, owner_id, payment_request, payment_hash, amount_msat, fee_limit_msat, expires_at)
VALUES (%(kind)s, %(id)s, %(payment_request)s, %(payment_hash)s, %(amount_msat)s, %(fee_limit_msat)s, %(expires_at)s)
ON CONFLICT DO NOTHING RETURNING *;

-- name: payout
SELECT * FROM payouts WHERE id = %(payout_id)s;

-- name: lock_payout
SELECT * FROM payouts WHERE id = %(payout_id)s FOR UPDATE;

-- name: payout_by_hash
SELECT * FROM payouts WHERE payment_hash = %(payment_hash)s;

-- name: payouts_of_owner
SELECT * FROM payouts WHERE owner_kind = %(kind)s AND owner_id = %(id)s ORDER BY id;

-- name: payout_sending
-- committed before the node is called
UPDATE payouts SET state = %(to_state)s, sender_fence = %(fence)s, orphaned = orphaned OR %(is_again)s, sent_at = coalesce(sent_at, now())
 WHERE id = %(payout_id)s AND state = %(from_state)s;

-- name: payout_unknown
UPDATE payouts SET state = %(to_state)s, sender_fence = nullif(sender_fence, %(fence)s),
                   seen_in_flight = seen_in_flight OR %(seen)s, needs_review = needs_review OR %(review)s
 WHERE id = %(payout_id)s AND state = %(from_state)s;

-- name: payout_ended
UPDATE payouts SET state = %(to_state)s, sender_fence = NULL, preimage = %(preimage)s, fee_msat = %(fee_msat)s, fault = %(fault)s,
                   needs_review = false, ended_at = now()
 WHERE id = %(payout_id)s AND state = %(from_state)s;

-- name: accepted_database
SELECT 1 AS one FROM database_identity NATURAL JOIN present_database;

-- name: accept_database
UPDATE database_identity SET (system_identifier, timeline, database_oid, table_oid, accepted_at)
     = (SELECT system_identifier, timeline, database_oid, table_oid, now() FROM present_database);

-- name: payouts_by_state
SELECT state, count(*) AS payouts, count(*) FILTER (WHERE needs_review) AS review,
       coalesce(max(extract(epoch FROM now() - created_at)), 0)::float8 AS oldest_s
  FROM payouts GROUP BY state;

-- name: settled_rows
SELECT id, payment_hash, paid_msat, settle_index FROM invoices WHERE state = 'settled' AND id > %(after)s ORDER BY id LIMIT %(page)s;

-- name: payout_rows
SELECT id, payment_hash, state, amount_msat, fee_msat, preimage, coalesce(sent_at, created_at) AS moved_at
  FROM payouts WHERE id > %(after)s ORDER BY id LIMIT %(page)s;
