-- name: enqueue
INSERT INTO steps (owner_kind, owner_id, name, cid) VALUES (%(owner_kind)s, %(owner_id)s, %(name)s, %(cid)s)
ON CONFLICT ON CONSTRAINT steps_once DO NOTHING
RETURNING id;

-- name: send
INSERT INTO outbox (topic, payload, cid, available_at)
VALUES (%(topic)s, jsonb_build_object('id', %(owner_id)s::bigint), %(cid)s, now() + make_interval(secs => %(delay_s)s));

-- name: send_soon
INSERT INTO outbox (topic, payload, cid, available_at)
SELECT %(topic)s, jsonb_build_object('id', %(owner_id)s::bigint), %(cid)s, now() + make_interval(secs => %(within_s)s)
 WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE available_at > now() + make_interval(secs => %(within_s)s / 2)
                      AND topic = %(topic)s AND payload = jsonb_build_object('id', %(owner_id)s::bigint));

-- name: claim
-- autocommitted before the work: `fence` is the token, `attempts` the poison count. No row: not our turn.
UPDATE steps SET state = 'running', fence = fence + 1, attempts = attempts + 1, started_at = coalesce(started_at, now()),
                 lease_until = now() + make_interval(secs => %(lease_s)s)
 WHERE owner_kind = %(owner_kind)s AND owner_id = %(owner_id)s AND name = %(name)s
   AND ((state = 'queued' AND not_before <= now()) OR (state = 'running' AND lease_until < now()))
RETURNING id, fence, attempts, cid, extract(epoch FROM now() - created_at) AS age_s;

-- name: renew
UPDATE steps SET lease_until = now() + make_interval(secs => %(lease_s)s)
 WHERE id = %(id)s AND state = 'running' AND fence = %(fence)s;

-- name: end
UPDATE steps SET state = %(state)s, lease_until = NULL, ended_at = now(), fault = %(fault)s
 WHERE id = %(id)s AND state = 'running' AND fence = %(fence)s;

-- name: put_back
UPDATE steps SET state = 'queued', lease_until = NULL, attempts = attempts - %(forgiven)s, fault = %(fault)s,
                 not_before = now() + make_interval(secs => %(delay_s)s), rung_at = now() + make_interval(secs => %(delay_s)s)
 WHERE id = %(id)s AND state = 'running' AND fence = %(fence)s;

-- name: restart
-- As if it had never been tried, also where it was put off; the fence goes on, so that nobody from before can end it.
UPDATE steps SET state = 'queued', attempts = 0, fault = NULL, cid = %(cid)s, created_at = now(), started_at = NULL, ended_at = NULL,
                 not_before = now(), rung_at = now()
 WHERE owner_kind = %(owner_kind)s AND owner_id = %(owner_id)s AND name = %(name)s AND state IN ('queued', 'failed', 'quarantined');

-- name: rescue
WITH stuck AS MATERIALIZED (
  SELECT id FROM steps
   WHERE state IN ('queued', 'running') AND rung_at < now() - make_interval(secs => %(rescue_after_s)s)
     AND (state = 'queued' OR lease_until < now())
   ORDER BY rung_at LIMIT 200 FOR UPDATE SKIP LOCKED),
rung AS (UPDATE steps SET rung_at = now() FROM stuck WHERE steps.id = stuck.id RETURNING steps.owner_kind, steps.name, steps.owner_id, steps.cid)
INSERT INTO outbox (topic, payload, cid) SELECT owner_kind || '.' || name, jsonb_build_object('id', owner_id), cid FROM rung;

-- name: take_due
WITH picked AS MATERIALIZED (
  SELECT id FROM outbox WHERE available_at <= now() ORDER BY available_at, id LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
DELETE FROM outbox USING picked WHERE outbox.id = picked.id RETURNING outbox.id, outbox.topic, outbox.payload, outbox.cid;

-- name: take_turn
-- A turn is also due where the last one lies ahead: the clock was set back since. clock_timestamp() there, because now() stands
-- still while this waits for another's turn to commit, and would take that one for the future.
WITH last AS MATERIALIZED (
  SELECT name, last_run FROM schedule WHERE name = %(name)s AND (next_run <= now() OR last_run > clock_timestamp()) FOR UPDATE)
UPDATE schedule SET next_run = now() + make_interval(secs => %(period_s)s), last_run = now()
  FROM last WHERE schedule.name = last.name
RETURNING greatest(0, extract(epoch FROM last.last_run - now()))::float8 AS set_back_s;

-- name: know_tick
INSERT INTO schedule (name) VALUES (%(name)s) ON CONFLICT DO NOTHING;

-- name: recall_queued
UPDATE steps SET not_before = least(not_before, now()), rung_at = least(rung_at, now())
 WHERE state = 'queued' AND greatest(not_before, rung_at) > now() + make_interval(secs => %(beyond_s)s);

-- name: recall_running
-- Whoever lives renews; whoever died holds his lease no longer than any other.
UPDATE steps SET lease_until = least(lease_until, now() + make_interval(secs => %(lease_s)s)), rung_at = least(rung_at, now())
 WHERE state = 'running' AND greatest(lease_until - make_interval(secs => %(lease_s)s), rung_at) > now() + make_interval(secs => %(beyond_s)s);

-- name: recall_outbox
UPDATE outbox SET available_at = now() WHERE available_at > now() + make_interval(secs => %(beyond_s)s);

-- name: sing
INSERT INTO canaries (queue, seen_at) VALUES (%(queue)s, now()) ON CONFLICT (queue) DO UPDATE SET seen_at = now();

-- name: silent_queues
SELECT wanted AS queue FROM unnest(%(queues)s::text[]) AS wanted
 WHERE NOT EXISTS (SELECT 1 FROM canaries WHERE queue = wanted AND seen_at > now() - make_interval(secs => %(max_age_s)s));

-- name: prune_steps
DELETE FROM steps WHERE owner_kind IN ('sweep', 'demo') AND state IN ('done', 'failed', 'quarantined') AND ended_at < now() - interval '1 hour';

-- name: outbox_rows
SELECT count(*) FILTER (WHERE available_at <= now()) AS due, count(*) FILTER (WHERE available_at > now()) AS delayed,
       coalesce(extract(epoch FROM now() - min(available_at) FILTER (WHERE available_at <= now())), 0)::float8 AS oldest_due_s
  FROM outbox;

-- name: steps_by_state
-- age: of a queued step since it was due, of a running one since its first claim, of a quarantined one since its end (the latest)
-- stranded: quarantined steps whose owner could not be given up either, so that nothing of theirs was settled
SELECT owner_kind, name, state, count(*) AS steps, 0::bigint AS stranded,
       greatest(0, max(extract(epoch FROM now() - CASE state WHEN 'queued' THEN not_before ELSE started_at END)))::float8 AS age_s
  FROM steps WHERE state IN ('queued', 'running') GROUP BY owner_kind, name, state
UNION ALL
SELECT owner_kind, name, state, count(*), count(*) FILTER (WHERE fault LIKE '%%' || %(stranded)s || '%%'), greatest(0, extract(epoch FROM now() - max(ended_at)))::float8
  FROM steps WHERE state = 'quarantined' GROUP BY owner_kind, name, state
 ORDER BY 1, 2, 3;

-- name: lapsed_leases
SELECT count(*) AS steps, coalesce(max(extract(epoch FROM now() - lease_until)), 0)::float8 AS longest_s
  FROM steps WHERE state = 'running' AND lease_until < now();

-- name: tick_ages
SELECT name, extract(epoch FROM now() - last_run)::float8 AS age_s FROM schedule WHERE last_run IS NOT NULL ORDER BY name;

-- name: canary_ages
SELECT queue, extract(epoch FROM now() - seen_at)::float8 AS age_s FROM canaries ORDER BY queue;
