-- name: claim
INSERT INTO idempotency_keys (scope, key, fingerprint, created_at)
VALUES (%(scope)s, %(key)s, %(fingerprint)s, %(now)s)
ON CONFLICT (scope, key) DO UPDATE
   SET fingerprint = excluded.fingerprint, status = NULL, body = NULL, created_at = excluded.created_at
 WHERE idempotency_keys.created_at <= %(born_before)s
    OR (idempotency_keys.status IS NULL
        AND idempotency_keys.created_at <= %(abandoned_before)s
        AND idempotency_keys.fingerprint = excluded.fingerprint)
RETURNING created_at;

-- name: find
SELECT fingerprint, status, body FROM idempotency_keys WHERE scope = %(scope)s AND key = %(key)s;

-- name: answer
UPDATE idempotency_keys SET status = %(status)s, body = %(body)s
 WHERE scope = %(scope)s AND key = %(key)s AND created_at = %(claimed_at)s AND status IS NULL;

-- name: release
DELETE FROM idempotency_keys
 WHERE scope = %(scope)s AND key = %(key)s AND created_at = %(claimed_at)s AND status IS NULL;

-- name: prune
DELETE FROM idempotency_keys WHERE created_at <= %(born_before)s;
