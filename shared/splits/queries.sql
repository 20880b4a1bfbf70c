-- name: insert
INSERT INTO splits (tenant, run_id, asked_hash, record, payout_hash)
VALUES (%(tenant)s, %(run_id)s, %(asked_hash)s, %(record)s, %(payout_hash)s) ON CONFLICT ON CONSTRAINT splits_once DO NOTHING;

-- name: find
SELECT run_id, asked_hash, record, payout_hash FROM splits WHERE tenant = %(tenant)s AND run_id = %(run_id)s;
