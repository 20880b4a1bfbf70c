-- name: generations
SELECT salt FROM macaroon_generations WHERE retired_at IS NULL ORDER BY number DESC;

-- name: serialize
SELECT pg_advisory_xact_lock(hashtextextended('macaroon_generations', 0));

-- name: is_due
SELECT NOT EXISTS (SELECT 1 FROM macaroon_generations
                    WHERE retired_at IS NULL AND created_at > now() - make_interval(days => %(days)s)) AS due;

-- name: insert
INSERT INTO macaroon_generations (salt) VALUES (%(salt)s);

-- name: retire
UPDATE macaroon_generations SET retired_at = now()
 WHERE retired_at IS NULL AND number NOT IN (SELECT number FROM macaroon_generations ORDER BY number DESC LIMIT 2);

-- name: insert_key
INSERT INTO api_keys (key_id, key_hash, hint, label, tenant, mode, tier, scopes, rotated_from)
VALUES (%(key_id)s, %(key_hash)s, %(hint)s, %(label)s, %(tenant)s, %(mode)s, %(tier)s, %(scopes)s, %(rotated_from)s)
RETURNING *, (SELECT former.key_id FROM api_keys former WHERE former.id = %(rotated_from)s) AS rotated_from_id;

-- name: valid_key
SELECT api_keys.*, former.key_id AS rotated_from_id,
       (api_keys.last_used_at IS NULL OR api_keys.last_used_at < now() - interval '1 minute') AS is_stale
  FROM api_keys LEFT JOIN api_keys former ON former.id = api_keys.rotated_from
 WHERE api_keys.key_hash = %(key_hash)s AND api_keys.revoked_at IS NULL;

-- name: do_not_wait_for_disk
SELECT set_config('synchronous_commit', 'off', true);

-- name: note_use
UPDATE api_keys SET last_used_at = now()
 WHERE id = (SELECT id FROM api_keys
              WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
                FOR UPDATE SKIP LOCKED);

-- name: lock_key
SELECT api_keys.*, former.key_id AS rotated_from_id
  FROM api_keys LEFT JOIN api_keys former ON former.id = api_keys.rotated_from
 WHERE api_keys.key_id = %(key_id)s FOR UPDATE OF api_keys;

-- name: find_key
SELECT api_keys.*, former.key_id AS rotated_from_id
  FROM api_keys LEFT JOIN api_keys former ON former.id = api_keys.rotated_from
 WHERE api_keys.key_id = %(key_id)s;

-- name: revoke_key
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = %(id)s;

-- name: valid_keys
SELECT mode, tier, count(*) AS keys FROM api_keys WHERE revoked_at IS NULL GROUP BY mode, tier;

-- name: keys
SELECT api_keys.*, former.key_id AS rotated_from_id
  FROM api_keys LEFT JOIN api_keys former ON former.id = api_keys.rotated_from
 WHERE %(tenant)s::text IS NULL OR api_keys.tenant = %(tenant)s
 ORDER BY api_keys.id DESC LIMIT %(most)s;
