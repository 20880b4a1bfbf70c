-- name: post_entry
INSERT INTO entries (kind, ref) VALUES (%(kind)s, %(ref)s) ON CONFLICT ON CONSTRAINT entries_once DO NOTHING RETURNING id;

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
SELECT id, reason, amount_msat, state FROM debts WHERE owner_kind = %(kind)s AND owner_id = %(id)s ORDER BY id;

-- name: totals
SELECT account, sum(amount_msat)::bigint AS amount_msat FROM postings GROUP BY account ORDER BY account;
