-- name: claim
INSERT INTO idempotency_keys (scope, key, fingerprint, created_at)
VALUES (%(scope)s, %(key)s, %(fingerprint)s, %(now)s)
ON CONFLICT (scope, key) DO UPDATE
   SET fingerprint = excluded.fingerprint, status = NULL, body = NULL, created_at = excluded.created_at,
       owner_kind = CASE WHEN idempotency_keys.created_at > %(born_before)s THEN idempotency_keys.owner_kind END,
       owner_id = CASE WHEN idempotency_keys.created_at > %(born_before)s THEN idempotency_keys.owner_id END
 WHERE idempotency_keys.created_at <= %(born_before)s
    OR (idempotency_keys.status IS NULL
        AND (idempotency_keys.created_at <= %(abandoned_before)s OR idempotency_keys.owner_id IS NOT NULL)
        AND idempotency_keys.fingerprint = excluded.fingerprint)
RETURNING created_at, owner_kind, owner_id;

-- name: find
SELECT fingerprint, status, body FROM idempotency_keys WHERE scope = %(scope)s AND key = %(key)s;

-- name: name_owner
UPDATE idempotency_keys SET owner_kind = %(owner_kind)s, owner_id = %(owner_id)s
 WHERE scope = %(scope)s AND key = %(key)s AND created_at = %(claimed_at)s AND status IS NULL;

-- name: answer
UPDATE idempotency_keys SET status = %(status)s, body = %(body)s
 WHERE scope = %(scope)s AND key = %(key)s AND created_at = %(claimed_at)s AND status IS NULL
RETURNING owner_kind, owner_id;

-- name: release
WITH freed AS (
    DELETE FROM idempotency_keys
     WHERE scope = %(scope)s AND key = %(key)s AND created_at = %(claimed_at)s AND status IS NULL AND owner_id IS NULL
)
SELECT owner_kind, owner_id FROM idempotency_keys
 WHERE scope = %(scope)s AND key = %(key)s AND created_at = %(claimed_at)s;

-- name: prune
DELETE FROM idempotency_keys WHERE created_at <= %(born_before)s;
