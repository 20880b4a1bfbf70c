-- name: register_key
INSERT INTO signer_keys (kid, public_key, valid_from_index) SELECT %(kid)s, %(public_key)s, size FROM log_state
ON CONFLICT (kid) DO NOTHING;

-- name: keys
SELECT kid, public_key, valid_from_index, valid_to_index FROM signer_keys ORDER BY created_at, kid;

-- name: next_seq
INSERT INTO tenants (tenant, last_seq) VALUES (%(tenant)s, 1)
ON CONFLICT (tenant) DO UPDATE SET last_seq = tenants.last_seq + 1 RETURNING last_seq;

-- name: insert_receipt
INSERT INTO receipts (receipt_id, owner_kind, owner_id, kind, tenant, tenant_seq, body, receipt_hash, signature, signer_kid, issued_at, project)
VALUES (%(receipt_id)s, %(owner_kind)s, %(owner_id)s, %(kind)s, %(tenant)s, %(tenant_seq)s, %(body)s, %(receipt_hash)s, %(signature)s,
        %(signer_kid)s, %(issued_at)s, %(project)s);

-- name: insert_salts
INSERT INTO receipt_salts (receipt_id, field, salt)
SELECT %(receipt_id)s, field, salt FROM unnest(%(fields)s::text[], %(salts)s::bytea[]) AS given (field, salt);

-- name: forget_salts
DELETE FROM receipt_salts USING receipts
 WHERE receipt_salts.receipt_id = receipts.receipt_id AND receipts.owner_kind = %(kind)s AND receipts.owner_id = ANY(%(ids)s);

-- name: salts
SELECT field, salt FROM receipt_salts WHERE receipt_id = %(receipt_id)s;

-- name: id_of
SELECT receipt_id FROM receipts WHERE owner_kind = %(owner_kind)s AND owner_id = %(owner_id)s ORDER BY id LIMIT 1;

-- name: by_id
SELECT * FROM receipts WHERE receipt_id = %(receipt_id)s;

-- name: by_hash
SELECT * FROM receipts WHERE receipt_hash = %(receipt_hash)s;

-- name: hashes
SELECT leaf_index, receipt_hash FROM receipts WHERE leaf_index >= %(first)s AND leaf_index < %(end)s ORDER BY leaf_index;

-- name: become_sequencer
SELECT pg_try_advisory_xact_lock(72610002) AS mine;

-- name: await_sequencer
SELECT pg_advisory_xact_lock(72610002);

-- name: lock_log
SELECT size, peaks FROM log_state FOR UPDATE;

-- name: log_size
SELECT size FROM log_state;

-- name: pending
SELECT id, receipt_hash FROM receipts WHERE leaf_index IS NULL ORDER BY id LIMIT %(batch)s;

-- name: integrate
UPDATE receipts SET leaf_index = numbered.leaf_index
  FROM unnest(%(ids)s::bigint[], %(leaf_indexes)s::bigint[]) AS numbered (id, leaf_index)
 WHERE receipts.id = numbered.id AND receipts.leaf_index IS NULL;

-- name: copy_nodes
COPY log_nodes (pos, hash) FROM STDIN;

-- name: nodes
SELECT pos, hash FROM log_nodes WHERE pos = ANY(%(positions)s);

-- name: grow_log
UPDATE log_state SET size = %(size)s, peaks = %(peaks)s, updated_at = now();

-- name: insert_checkpoint
INSERT INTO checkpoints (size, root, note) VALUES (%(size)s, %(root)s, %(note)s) ON CONFLICT (size) DO NOTHING;

-- name: newest_checkpoint
SELECT size, root, note FROM checkpoints ORDER BY size DESC LIMIT 1;

-- name: checkpoint
SELECT size, root, note FROM checkpoints WHERE size = %(size)s;

-- name: open_first_epoch
INSERT INTO epochs (number, epoch_id, start_size)
SELECT 1, %(epoch_id)s, 0 WHERE NOT EXISTS (SELECT 1 FROM epochs) ON CONFLICT DO NOTHING;

-- name: lock_open_epoch
-- An epoch that seems to begin later was opened by a clock that was set back since: its age is unknown, so it is old enough.
SELECT *, CASE WHEN opened_at <= now() THEN extract(epoch FROM now() - opened_at) ELSE 'infinity' END AS age_s
  FROM epochs WHERE state = 'open' FOR UPDATE;

-- name: close_epoch
UPDATE epochs SET state = 'closed', end_size = %(end_size)s, root = %(root)s, closed_at = now()
 WHERE number = %(number)s AND state = 'open';

-- name: open_epoch
INSERT INTO epochs (number, epoch_id, start_size) VALUES (%(number)s, %(epoch_id)s, %(start_size)s);

-- name: epochs
SELECT * FROM epoch_views WHERE %(status)s::text IS NULL OR status = %(status)s
 ORDER BY number DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: epoch_count
SELECT count(*) AS total FROM epoch_views WHERE %(status)s::text IS NULL OR status = %(status)s;

-- name: epoch_by_id
SELECT * FROM epoch_views WHERE epoch_id = %(epoch_id)s;

-- name: epoch_of_leaf
SELECT * FROM epoch_views WHERE start_size <= %(leaf_index)s AND (end_size IS NULL OR end_size > %(leaf_index)s)
 ORDER BY number LIMIT 1;

-- name: epoch_by_number
SELECT * FROM epoch_views WHERE number = %(number)s;

-- name: open_epoch_now
SELECT * FROM epoch_views WHERE state = 'open';

-- name: epochs_by_status
SELECT status, count(*) AS epochs FROM epoch_views GROUP BY status;

-- name: insert_claim
INSERT INTO claims (tenant, run_id, content_hash) VALUES (%(tenant)s, %(run_id)s, %(content_hash)s)
ON CONFLICT ON CONSTRAINT claims_run_once DO NOTHING RETURNING id;

-- name: claimed_before
SELECT id FROM claims WHERE run_id = %(run_id)s AND tenant = %(tenant)s AND content_hash = %(content_hash)s;

-- name: claim_run_id
SELECT run_id FROM claims WHERE id = %(id)s;

-- name: is_run_of_ours
-- A run has its id long before it has its receipt.
SELECT 1 FROM runs WHERE run_id = %(run_id)s UNION ALL SELECT 1 FROM receipts WHERE receipt_id = %(run_id)s LIMIT 1;

-- name: open_project_epoch
INSERT INTO project_epochs (epoch_id, tenant, project, number, start_size)
SELECT %(epoch_id)s, %(tenant)s, %(project)s, coalesce(max(number), 0) + 1, coalesce(max(end_size), 0)
  FROM project_epochs WHERE tenant = %(tenant)s AND project = %(project)s
HAVING count(*) = count(end_size)
ON CONFLICT DO NOTHING;

-- name: lock_project_epoch
SELECT * FROM project_epochs
  CROSS JOIN LATERAL (SELECT 'open' AS state) AS now_open
 WHERE id = %(id)s AND end_size IS NULL FOR UPDATE OF project_epochs;

-- name: close_project_epoch
UPDATE project_epochs SET end_size = %(end_size)s, root = %(root)s, receipts = %(receipts)s, closed_at = now()
 WHERE id = %(id)s AND end_size IS NULL;

-- name: project_receipts
SELECT count(*) AS receipts
  FROM project_epochs JOIN receipts ON receipts.tenant = project_epochs.tenant AND receipts.project = project_epochs.project
 WHERE project_epochs.id = %(id)s AND leaf_index >= start_size AND leaf_index < %(end_size)s;

-- name: project_epochs
SELECT * FROM project_epoch_views
 WHERE tenant = %(tenant)s AND (%(project)s::text IS NULL OR project = %(project)s) AND (%(status)s::text IS NULL OR status = %(status)s)
 ORDER BY id DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: project_epoch_count
SELECT count(*) AS total FROM project_epoch_views
 WHERE tenant = %(tenant)s AND (%(project)s::text IS NULL OR project = %(project)s) AND (%(status)s::text IS NULL OR status = %(status)s);

-- name: project_epoch_by_id
SELECT * FROM project_epoch_views WHERE epoch_id = %(epoch_id)s;

-- name: project_epoch_by_row
SELECT * FROM project_epoch_views WHERE id = %(id)s;

-- name: newest_project_epoch
SELECT * FROM project_epoch_views WHERE tenant = %(tenant)s AND project = %(project)s ORDER BY number DESC LIMIT 1;

-- name: intend_anchor
INSERT INTO anchors (target, size, request) VALUES (%(target)s, %(size)s, %(request)s)
ON CONFLICT ON CONSTRAINT anchors_once DO NOTHING RETURNING id;

-- name: anchor
SELECT * FROM anchors WHERE id = %(id)s;

-- name: covering_anchor
SELECT * FROM anchors WHERE target = %(target)s AND state = 'final' AND size >= %(size)s ORDER BY size LIMIT 1;

-- name: last_final_size
SELECT coalesce(max(size), 0) AS size FROM anchors WHERE target = %(target)s AND state = 'final';

-- name: anchor_is_final
UPDATE anchors SET state = 'final', evidence = %(evidence)s, target_key = %(target_key)s, fault = NULL, tries = tries + 1, ended_at = now()
 WHERE id = %(id)s AND state = 'intended';

-- name: cover_smaller
-- Anchoring a size anchors all before it: what failed earlier is vouched for now.
UPDATE anchors SET state = 'final', evidence = covering.evidence, target_key = covering.target_key, ended_at = now()
  FROM anchors AS covering
 WHERE covering.id = %(id)s AND covering.state = 'final'
   AND anchors.target = covering.target AND anchors.size < covering.size AND anchors.state = 'failed';

-- name: target_keys
SELECT DISTINCT target_key FROM anchors WHERE target = %(target)s AND target_key IS NOT NULL ORDER BY target_key;

-- name: anchor_failed
UPDATE anchors SET state = 'failed', fault = %(fault)s, ended_at = now() WHERE id = %(id)s AND state IN ('intended', 'submitted');

-- name: rearm_anchors
UPDATE anchors SET state = 'intended', fault = NULL, ended_at = NULL, retries = retries + 1
 WHERE size = %(size)s AND state = 'failed' RETURNING id;

-- name: anchor_tried
UPDATE anchors SET tries = tries + 1, fault = %(fault)s WHERE id = %(id)s AND state = 'intended';

-- name: anchors_of_sizes
SELECT * FROM anchors WHERE size = ANY(%(sizes)s) ORDER BY size, target;

-- name: receipt_count
SELECT count(*) AS receipts FROM receipts;

-- name: greatest_final_size
SELECT coalesce(max(size), 0) AS size FROM anchors WHERE state = 'final';

-- name: last_anchor_at
SELECT max(ended_at) AS ended_at FROM anchors WHERE state = 'final';

-- name: log_progress
SELECT size,
       (SELECT count(*) FROM receipts WHERE leaf_index IS NULL) AS unintegrated,
       (SELECT greatest(0, extract(epoch FROM now() - min(issued_at)))::float8 FROM receipts WHERE leaf_index IS NULL) AS waiting_s,
       (SELECT extract(epoch FROM now() - opened_at)::float8 FROM epochs WHERE state = 'open') AS epoch_age_s,
       (SELECT start_size FROM epochs WHERE state = 'open') AS epoch_start
  FROM log_state;

-- name: anchors_by_state
SELECT target, state, count(*) AS anchors, extract(epoch FROM now() - min(created_at))::float8 AS oldest_s,
       extract(epoch FROM now() - max(ended_at))::float8 AS ended_s
  FROM anchors GROUP BY target, state ORDER BY target, state;

-- name: uncovered_failures
SELECT count(*) AS anchors FROM anchors AS failed
 WHERE state = 'failed' AND NOT EXISTS (SELECT 1 FROM anchors AS later WHERE later.target = failed.target AND later.state = 'final'
                                           AND later.size >= failed.size);

-- name: audited_state
SELECT size, peaks, (SELECT coalesce(max(pos), -1) FROM log_nodes) AS last_position FROM log_state;

-- name: leaves_between
SELECT leaf_index, body, receipt_hash, signature, signer_kid FROM receipts
 WHERE leaf_index >= %(first)s AND leaf_index < %(end)s ORDER BY leaf_index;

-- name: nodes_between
SELECT pos, hash FROM log_nodes WHERE pos >= %(first)s AND pos < %(end)s ORDER BY pos;

-- name: checkpoints_between
SELECT size, root, note FROM checkpoints WHERE size > %(above)s AND size <= %(up_to)s ORDER BY size;

-- name: epochs_ending_between
SELECT number, end_size, root FROM epochs WHERE end_size > %(above)s AND end_size <= %(up_to)s ORDER BY number;
