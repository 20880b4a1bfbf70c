-- name: by_id
SELECT * FROM passports
 WHERE passport_id = %(passport_id)s AND tenant IN (%(tenant)s, 'operator') AND simulated = %(simulated)s;

-- name: by_row
SELECT * FROM passports WHERE id = %(id)s;

-- name: lock
SELECT * FROM passports WHERE id = %(id)s FOR UPDATE;

-- name: model_by_id
SELECT * FROM passports
 WHERE passport_id = %(reference)s AND type = 'model' AND status = 'active'
   AND tenant IN (%(tenant)s, 'operator') AND simulated = %(simulated)s;

-- name: model_by_name
SELECT * FROM passports
 WHERE name = %(reference)s AND type = 'model' AND status = 'active'
   AND tenant IN (%(tenant)s, 'operator') AND simulated = %(simulated)s
 ORDER BY tenant = %(tenant)s DESC, id LIMIT 1;

-- name: candidates
-- The caller's own nodes first: of more than the limit, the operator's are the ones left out.
SELECT node.passport_id, node.updated_at, node.tenant, node.simulated, node.metadata::text AS metadata,
       node.endpoints ->> 'inference_url' AS inference_url,
       heard.status, heard.queue_depth, heard.price_per_1k_usd, heard.p95_ms,
       heard.seen_at BETWEEN now() - %(life_s)s * interval '1 second' AND now() + interval '5 seconds' AS is_fresh
  FROM passports AS node LEFT JOIN heartbeats AS heard ON heard.passport_id = node.passport_id
 WHERE node.type = 'compute' AND node.status = 'active' AND node.tenant IN (%(tenant)s, 'operator') AND node.simulated = %(simulated)s
   AND (%(named)s::text IS NULL OR node.passport_id = %(named)s)
 ORDER BY node.tenant = %(tenant)s DESC, node.id LIMIT %(limit)s;

-- name: page
WITH node AS MATERIALIZED (
    SELECT node.passport_id, node.status, node.metadata,
           coalesce(node.endpoints ->> 'inference_url', node.metadata -> 'endpoints' ->> 'inference_url', '-') AS url
      FROM passports AS node
     WHERE %(available)s::boolean IS NOT NULL AND node.type = 'compute' AND node.tenant IN (%(tenant)s, 'operator')
       AND node.simulated = %(simulated)s
), stood_for AS (
    SELECT url FROM node WHERE status <> 'revoked'
), healthy AS MATERIALIZED (
    SELECT ARRAY (SELECT runtime ->> 'name' FROM jsonb_array_elements(node.metadata -> 'runtimes') AS runtime) AS runtimes,
           (node.metadata -> 'hardware' ->> 'vram_gb')::numeric AS vram_gb,
           CASE WHEN jsonb_typeof(node.metadata -> 'metadata' -> 'models') = 'array'
                THEN ARRAY (SELECT jsonb_array_elements_text(node.metadata -> 'metadata' -> 'models'))
                WHEN node.metadata -> 'metadata' ? 'models' THEN ARRAY []::text[] END AS models
      FROM node JOIN heartbeats AS heard ON heard.passport_id = node.passport_id
     WHERE node.status = 'active' AND heard.status = 'healthy'
       AND heard.seen_at BETWEEN now() - %(life_s)s * interval '1 second' AND now() + interval '5 seconds'
), found AS (
    SELECT passports.* FROM passports
     WHERE tenant IN (%(tenant)s, 'operator') AND simulated = %(simulated)s
       AND (%(types)s::text[] IS NULL OR type = ANY (%(types)s))
       AND (%(statuses)s::text[] IS NULL OR status = ANY (%(statuses)s))
       AND (%(owner)s::text IS NULL OR owner = %(owner)s)
       AND (%(tags)s::text[] IS NULL OR CASE WHEN %(any_tag)s THEN tags && %(tags)s ELSE tags @> %(tags)s END)
       AND (%(search)s::text IS NULL OR name ILIKE %(search)s OR description ILIKE %(search)s
            OR array_to_string(tags, ' ') ILIKE %(search)s)
       AND (%(runtime)s::text IS NULL OR metadata ->> 'runtime_recommended' = %(runtime)s)
       AND (%(format)s::text IS NULL OR metadata ->> 'format' = %(format)s)
       -- Metadata is known to hold numbers only where its type has a schema that says so.
       AND (%(max_vram)s::bigint IS NULL
            OR CASE WHEN type = 'model' THEN coalesce((metadata -> 'requirements' ->> 'min_vram_gb')::numeric, 0) <= %(max_vram)s END)
       AND (%(regions)s::text[] IS NULL OR metadata -> 'regions' ?| %(regions)s)
       AND (%(runtimes)s::text[] IS NULL
            OR EXISTS (SELECT 1 FROM unnest(%(runtimes)s) AS wanted
                        WHERE metadata -> 'runtimes' @> jsonb_build_array(jsonb_build_object('name', wanted))))
       AND (%(provider_type)s::text IS NULL OR metadata ->> 'provider_type' = %(provider_type)s)
       AND (%(min_vram)s::bigint IS NULL OR CASE WHEN type = 'compute' THEN (metadata -> 'hardware' ->> 'vram_gb')::numeric >= %(min_vram)s END)
       AND (%(gpu)s::text IS NULL OR metadata -> 'hardware' ->> 'gpu' ILIKE %(gpu)s)
       -- What can run now: a healthy node serves it. An API that no node of ours stands for counts too, as the contract has it.
       AND (%(available)s::boolean IS NULL OR CASE WHEN type = 'model' THEN %(available)s = (
            EXISTS (SELECT 1 FROM healthy
                     WHERE passports.metadata ->> 'runtime_recommended' = ANY (healthy.runtimes)
                       AND coalesce((passports.metadata -> 'requirements' ->> 'min_vram_gb')::numeric, 0) <= healthy.vram_gb
                       AND (healthy.models IS NULL OR passports.name = ANY (healthy.models) OR passports.passport_id = ANY (healthy.models)
                            OR passports.metadata ->> 'api_model_id' = ANY (healthy.models)
                            OR passports.metadata ->> 'provider_model_id' = ANY (healthy.models)))
            OR (metadata ->> 'format' = 'api'
                AND coalesce(metadata -> 'endpoints' ->> 'openai_compat_base_url', '') NOT IN (SELECT url FROM stood_for))) END)
), page AS (
    SELECT found.*, row_number() OVER (ORDER BY
               CASE WHEN %(sort_by)s = 'name' AND NOT %(descending)s THEN name END,
               CASE WHEN %(sort_by)s = 'name' AND %(descending)s THEN name END DESC,
               CASE WHEN %(sort_by)s = 'created_at' AND NOT %(descending)s THEN created_at END,
               CASE WHEN %(sort_by)s = 'created_at' AND %(descending)s THEN created_at END DESC,
               CASE WHEN %(sort_by)s = 'updated_at' AND NOT %(descending)s THEN updated_at END,
               CASE WHEN %(sort_by)s = 'updated_at' AND %(descending)s THEN updated_at END DESC,
               CASE WHEN %(descending)s THEN -id ELSE id END) AS place
      FROM found ORDER BY place LIMIT %(limit)s OFFSET %(offset)s
)
SELECT counted.total, page.*,
       page.type = 'model' AND page.name <> '' AND NOT EXISTS (
           SELECT 1 FROM passports AS other
            WHERE other.name = page.name AND other.type = 'model' AND other.status = 'active'
              AND other.tenant IN (%(tenant)s, 'operator') AND other.simulated = page.simulated
              AND (other.tenant = %(tenant)s, -other.id) > (page.tenant = %(tenant)s, -page.id)) AS resolves
  FROM (SELECT count(*) AS total FROM found) AS counted LEFT JOIN page ON true
 ORDER BY page.place;

-- name: counts
SELECT type, status, count(*) AS passports FROM passports
 WHERE tenant IN (%(tenant)s, 'operator') AND simulated = %(simulated)s GROUP BY type, status;

-- name: insert
INSERT INTO passports (passport_id, type, tenant, owner, name, description, version, tags, metadata, metadata_hash, simulated, configured)
VALUES (%(passport_id)s, %(type)s, %(tenant)s, %(owner)s, %(name)s, %(description)s, %(version)s, %(tags)s, %(metadata)s,
        %(metadata_hash)s, %(simulated)s, %(configured)s)
RETURNING *;

-- name: update
UPDATE passports
   SET owner = %(owner)s, name = %(name)s, description = %(description)s, version = %(version)s, tags = %(tags)s, metadata = %(metadata)s,
       metadata_hash = %(metadata_hash)s, pricing = %(pricing)s, endpoints = %(endpoints)s, updated_at = now()
 WHERE id = %(id)s RETURNING *;

-- name: move
UPDATE passports SET status = %(to_status)s, updated_at = now() WHERE id = %(id)s AND status = %(from_status)s RETURNING *;

-- name: become_registrar
SELECT pg_advisory_xact_lock(72610003);

-- name: configured
SELECT * FROM passports WHERE tenant = 'operator' AND configured ORDER BY id;

-- name: beat
WITH newest AS (
    INSERT INTO heartbeats (passport_id, status, queue_depth, price_per_1k_usd, p95_ms)
    VALUES (%(passport_id)s, %(status)s, %(queue_depth)s, %(price)s, %(p95)s)
    ON CONFLICT (passport_id) DO UPDATE
       SET status = excluded.status, queue_depth = excluded.queue_depth, price_per_1k_usd = excluded.price_per_1k_usd,
           p95_ms = excluded.p95_ms, seen_at = excluded.seen_at
    RETURNING *
), kept AS (
    INSERT INTO heartbeat_history (passport_id, status, queue_depth, price_per_1k_usd, p95_ms, seen_at)
    SELECT passport_id, status, queue_depth, price_per_1k_usd, p95_ms, seen_at FROM newest
)
SELECT *, true AS is_fresh FROM newest;

-- name: heard
SELECT *, seen_at BETWEEN now() - %(life_s)s * interval '1 second' AND now() + interval '5 seconds' AS is_fresh
  FROM heartbeats WHERE passport_id = %(passport_id)s;

-- name: pulses
SELECT heard.*, heard.seen_at BETWEEN now() - %(life_s)s * interval '1 second' AND now() + interval '5 seconds' AS is_fresh
  FROM heartbeats AS heard JOIN passports AS node ON node.passport_id = heard.passport_id
 WHERE heard.passport_id = ANY (%(passport_ids)s) AND node.status = 'active'
   AND node.tenant IN (%(tenant)s, 'operator') AND node.simulated = %(simulated)s;

-- name: heartbeat_history
SELECT *, seen_at BETWEEN now() - %(life_s)s * interval '1 second' AND now() + interval '5 seconds' AS is_fresh
  FROM heartbeat_history WHERE passport_id = %(passport_id)s AND seen_at > now() - %(history_s)s * interval '1 second'
 ORDER BY seen_at DESC, id DESC LIMIT %(limit)s;

-- name: prune_history
DELETE FROM heartbeat_history WHERE seen_at < now() - %(history_s)s * interval '1 second';

-- name: fault_met
INSERT INTO node_faults (passport_id, in_a_row, in_all, code)
SELECT passport_id, 1, 1, %(code)s FROM passports WHERE passport_id = %(passport_id)s
ON CONFLICT (passport_id) DO UPDATE
   SET in_a_row = node_faults.in_a_row + 1, in_all = node_faults.in_all + 1, code = excluded.code, at = excluded.at;

-- name: answer_met
UPDATE node_faults SET in_a_row = 0 WHERE passport_id = %(passport_id)s AND in_a_row > 0;

-- name: faults
SELECT in_a_row, in_all, code, at FROM node_faults WHERE passport_id = %(passport_id)s;

-- name: recent_latency
-- Of the newest thousand runs, so that the look stays short however many there were.
SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY total_latency_ms) AS p95, count(*) AS runs
  FROM (SELECT compute_passport_id, state, total_latency_ms, ended_at FROM runs ORDER BY id DESC LIMIT 1000) AS newest
 WHERE compute_passport_id = %(passport_id)s AND state = 'complete' AND ended_at > now() - %(age_s)s * interval '1 second';

-- name: nodes_by_status
SELECT CASE WHEN heard.seen_at BETWEEN now() - %(life_s)s * interval '1 second' AND now() + interval '5 seconds'
            THEN heard.status ELSE 'unknown' END AS status,
       node.simulated, count(*) AS nodes
  FROM passports AS node LEFT JOIN heartbeats AS heard ON heard.passport_id = node.passport_id
 WHERE node.type = 'compute' AND node.status = 'active' GROUP BY 1, 2;

-- name: passports_by_status
SELECT type, status, count(*) AS passports FROM passports GROUP BY type, status;
