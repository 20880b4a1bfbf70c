-- name: post_entry
INSERT INTO entries (kind, ref) VALUES (%(kind)s, %(ref)s) ON CONFLICT ON CONSTRAINT entries_once DO NOTHING RETURNING id;

-- name: posted_msat
SELECT max(postings.amount_msat)::bigint AS amount_msat FROM postings JOIN entries ON entries.id = postings.entry_id
 WHERE entries.kind = %(kind)s AND entries.ref = %(ref)s;

-- name: post_line
INSERT INTO postings (entry_id, account, owner_kind, owner_id, amount_msat)
VALUES (%(entry_id)s, %(account)s, %(owner_kind)s, %(owner_id)s, %(amount_msat)s);

-- name: owe
INSERT INTO debts (owner_kind, owner_id, reason, ref, amount_msat, entry_id)
VALUES (%(kind)s, %(id)s, %(reason)s, %(ref)s, %(amount_msat)s, %(entry_id)s);

-- name: balance
SELECT coalesce(sum(amount_msat), 0)::bigint AS balance_msat FROM postings
 WHERE account = %(account)s AND owner_kind = %(kind)s AND owner_id = %(id)s;

-- name: debts
SELECT id, reason, amount_msat, state, payout_id FROM debts WHERE owner_kind = %(kind)s AND owner_id = %(id)s ORDER BY id;

-- name: totals
SELECT account, sum(amount_msat)::bigint AS amount_msat FROM postings GROUP BY account ORDER BY account;

-- name: open_debts
SELECT reason, count(*) AS debts, sum(amount_msat)::bigint AS amount_msat FROM debts WHERE state = 'open' GROUP BY reason;

-- name: unbalanced_entries
SELECT count(*) AS entries
  FROM entries LEFT JOIN (SELECT entry_id, sum(amount_msat) AS total FROM postings GROUP BY entry_id) AS posted ON posted.entry_id = entries.id
 WHERE total IS DISTINCT FROM 0;

-- name: disputed_debtors
-- owners whose open debts are not what the account says that we owe them
SELECT count(*) AS owners
  FROM (SELECT owner_kind, owner_id, -sum(amount_msat) AS payable_msat FROM postings WHERE account = 'debts_payable'
         GROUP BY owner_kind, owner_id) AS booked
  FULL JOIN (SELECT owner_kind, owner_id, sum(amount_msat) AS owed_msat FROM debts WHERE state = 'open'
              GROUP BY owner_kind, owner_id) AS owed USING (owner_kind, owner_id)
 WHERE coalesce(payable_msat, 0) <> coalesce(owed_msat, 0);

-- name: holders
SELECT owner_id FROM postings WHERE account = 'customer' AND owner_kind = %(kind)s
 GROUP BY owner_id HAVING sum(amount_msat) <> 0 ORDER BY owner_id;

-- name: overdrawn
SELECT count(*) AS owners FROM (SELECT 1 FROM postings WHERE account = 'customer' GROUP BY owner_kind, owner_id
                                HAVING sum(amount_msat) > 0) AS below_zero;

-- name: bind_debts
UPDATE debts SET payout_id = %(payout_id)s
 WHERE owner_kind = %(kind)s AND owner_id = %(id)s AND state = 'open' AND payout_id IS NULL
RETURNING amount_msat;

-- name: unbind_debts
UPDATE debts SET payout_id = NULL WHERE payout_id = %(payout_id)s AND state = 'open';

-- name: pay_debts
UPDATE debts SET state = 'paid' WHERE payout_id = %(payout_id)s AND state = 'open' RETURNING amount_msat;

-- name: reserve
INSERT INTO reservations (owner_kind, owner_id, ref, amount_msat, expires_at)
VALUES (%(kind)s, %(id)s, %(ref)s, %(amount_msat)s, now() + make_interval(secs => %(life_s)s));

-- name: end_reservation
UPDATE reservations SET state = %(state)s, ended_at = now()
 WHERE owner_kind = %(kind)s AND owner_id = %(id)s AND ref = %(ref)s AND state = 'open' RETURNING amount_msat;

-- name: reserved
SELECT coalesce(sum(amount_msat), 0)::bigint AS reserved_msat FROM reservations
 WHERE owner_kind = %(kind)s AND owner_id = %(id)s AND state = 'open';

-- name: overbooked
-- owners of whom more is reserved than they have
SELECT count(*) AS owners
  FROM (SELECT owner_kind, owner_id, sum(amount_msat) AS reserved_msat FROM reservations WHERE state = 'open' GROUP BY owner_kind, owner_id) AS spoken_for
  LEFT JOIN (SELECT owner_kind, owner_id, -sum(amount_msat) AS held_msat FROM postings WHERE account = 'customer' GROUP BY owner_kind, owner_id) AS held
       USING (owner_kind, owner_id)
 WHERE reserved_msat > coalesce(held_msat, 0);

-- name: node_entries
-- what each entry that moved money in or out did to the node's account, a page at a time
SELECT page.id, page.kind, page.ref, coalesce(sum(postings.amount_msat) FILTER (WHERE account = 'node'), 0)::bigint AS node_msat
  FROM (SELECT id, kind, ref FROM entries WHERE id > %(after)s AND kind IN ('receive', 'pay_out') ORDER BY id LIMIT %(page)s) AS page
  LEFT JOIN postings ON postings.entry_id = page.id
 GROUP BY page.id, page.kind, page.ref ORDER BY page.id;

-- name: broken_entries
SELECT entries.kind, entries.ref, coalesce(total, 0)::bigint AS total_msat, total IS NULL AS is_empty
  FROM entries LEFT JOIN (SELECT entry_id, sum(amount_msat) AS total FROM postings GROUP BY entry_id) AS posted ON posted.entry_id = entries.id
 WHERE total IS DISTINCT FROM 0 ORDER BY entries.id LIMIT %(page)s;

-- name: debtors
-- owners whose open debts are not what the account says that we owe them, with both sums
SELECT owner_kind, owner_id, coalesce(payable_msat, 0)::bigint AS payable_msat, coalesce(owed_msat, 0)::bigint AS owed_msat
  FROM (SELECT owner_kind, owner_id, -sum(amount_msat) AS payable_msat FROM postings WHERE account = 'debts_payable'
         GROUP BY owner_kind, owner_id) AS booked
  FULL JOIN (SELECT owner_kind, owner_id, sum(amount_msat) AS owed_msat FROM debts WHERE state = 'open'
              GROUP BY owner_kind, owner_id) AS owed USING (owner_kind, owner_id)
 WHERE coalesce(payable_msat, 0) <> coalesce(owed_msat, 0) ORDER BY owner_kind, owner_id LIMIT %(page)s;

-- name: bound_debts
SELECT payout_id, sum(amount_msat) FILTER (WHERE state = 'open') AS open_msat, sum(amount_msat) FILTER (WHERE state = 'paid') AS paid_msat
  FROM debts WHERE payout_id > %(after)s GROUP BY payout_id ORDER BY payout_id LIMIT %(page)s;

-- name: open_reservations
SELECT count(*) AS reservations, coalesce(sum(amount_msat), 0)::bigint AS reserved_msat,
       greatest(0, coalesce(max(extract(epoch FROM now() - expires_at)), 0))::float8 AS overdue_s
  FROM reservations WHERE state = 'open';
