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
INSERT INTO api_keys (key_id, key_hash, hint, label, tenant, mode, tier, scopes, rotated_from, email)
VALUES (%(key_id)s, %(key_hash)s, %(hint)s, %(label)s, %(tenant)s, %(mode)s, %(tier)s, %(scopes)s, %(rotated_from)s, %(email)s)
RETURNING *, (SELECT former.key_id FROM api_keys former WHERE former.id = %(rotated_from)s) AS rotated_from_id;

-- name: valid_key
SELECT api_keys.*, former.key_id AS rotated_from_id,
       ARRAY (SELECT tier FROM plan_grants
               WHERE plan_grants.tenant = api_keys.tenant AND ends_at > now()) AS paid_tiers,
       (api_keys.last_used_at IS NULL OR api_keys.last_used_at < now() - interval '1 minute') AS is_stale
  FROM api_keys LEFT JOIN api_keys former ON former.id = api_keys.rotated_from
 WHERE api_keys.key_hash = %(key_hash)s AND api_keys.revoked_at IS NULL AND (api_keys.ends_at IS NULL OR api_keys.ends_at > now());

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
-- For good: no clock brings it back.
UPDATE api_keys SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL;

-- name: end_key
UPDATE api_keys SET ends_at = least(ends_at, now() + make_interval(secs => %(after_s)s)) WHERE id = %(id)s;

-- name: valid_keys
SELECT mode, tier, count(*) AS keys FROM api_keys
 WHERE revoked_at IS NULL AND (ends_at IS NULL OR ends_at > now()) GROUP BY mode, tier;

-- name: keys
SELECT api_keys.*, former.key_id AS rotated_from_id
  FROM api_keys LEFT JOIN api_keys former ON former.id = api_keys.rotated_from
 WHERE %(tenant)s::text IS NULL OR api_keys.tenant = %(tenant)s
 ORDER BY api_keys.id DESC LIMIT %(most)s;

-- name: serialize_tenant
SELECT pg_advisory_xact_lock(hashtextextended('tenants:' || %(tenant)s::text, 0));

-- name: valid_keys_of
SELECT count(*) AS valid, count(ends_at) AS ending FROM api_keys
 WHERE tenant = %(tenant)s AND revoked_at IS NULL AND (ends_at IS NULL OR ends_at > now());

-- name: take_unit
-- Compare and set: where no unit is left, neither row changes and nothing comes back.
WITH taken AS (
  INSERT INTO quotas (tenant, mode, period, forward, reverse)
  VALUES (%(tenant)s, %(mode)s, %(period)s, (%(pipeline)s = 'forward')::int, (%(pipeline)s = 'reverse')::int)
  ON CONFLICT (tenant, mode, period) DO UPDATE
     SET forward = quotas.forward + excluded.forward, reverse = quotas.reverse + excluded.reverse
   WHERE quotas.forward + quotas.reverse < %(limit)s
  RETURNING tenant, mode, period, forward + reverse AS used)
INSERT INTO quota_units (tenant, mode, period, pipeline) SELECT tenant, mode, period, %(pipeline)s FROM taken
RETURNING id, (SELECT used FROM taken) AS used;

-- name: give_back_unit
WITH returned AS (
  UPDATE quota_units SET given_back_at = now() WHERE id = %(unit)s AND given_back_at IS NULL RETURNING tenant, mode, period, pipeline)
UPDATE quotas SET forward = forward - (pipeline = 'forward')::int, reverse = reverse - (pipeline = 'reverse')::int
  FROM returned WHERE (quotas.tenant, quotas.mode, quotas.period) = (returned.tenant, returned.mode, returned.period);

-- name: add_tokens
UPDATE quotas SET tokens_in = tokens_in + %(tokens_in)s, tokens_out = tokens_out + %(tokens_out)s
  FROM quota_units WHERE quota_units.id = %(unit)s
   AND (quotas.tenant, quotas.mode, quotas.period) = (quota_units.tenant, quota_units.mode, quota_units.period);

-- name: quota
SELECT forward, reverse, tokens_in, tokens_out FROM quotas WHERE tenant = %(tenant)s AND mode = %(mode)s AND period = %(period)s;

-- name: grant
-- It begins where what is as good or better ends. What is lesser waits meanwhile: what is left of it is used up afterwards.
WITH waiting AS (
  UPDATE plan_grants
     SET starts_at = CASE WHEN starts_at > now() THEN starts_at + make_interval(hours => %(hours)s) ELSE starts_at END,
         ends_at = ends_at + make_interval(hours => %(hours)s)
   WHERE tenant = %(tenant)s AND tier = ANY(%(lesser)s::text[]) AND ends_at > now())
INSERT INTO plan_grants (tenant, tier, purchase_id, starts_at, ends_at)
SELECT %(tenant)s, %(tier)s, %(purchase_id)s, start, start + make_interval(hours => %(hours)s)
  FROM (SELECT greatest(now(), max(ends_at)) AS start FROM plan_grants
         WHERE tenant = %(tenant)s AND NOT tier = ANY(%(lesser)s::text[])) AS following
RETURNING *;

-- name: grant_of
SELECT tier, starts_at, ends_at FROM plan_grants WHERE purchase_id = %(purchase_id)s;

-- name: paid_plans
SELECT tier, min(starts_at) AS starts_at, max(ends_at) AS ends_at FROM plan_grants
 WHERE tenant = %(tenant)s AND ends_at > now() GROUP BY tier ORDER BY max(ends_at);
