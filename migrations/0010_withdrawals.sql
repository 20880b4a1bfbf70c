-- An abandoned invoice is withdrawn by a step of its own, whoever its owner is; a job's one step for all of them is gone.
-- Those that wait become the new ones, which the rescuer rings.

INSERT INTO steps (owner_kind, owner_id, name)
SELECT 'invoice', invoices.id, 'withdraw'
  FROM steps JOIN invoices ON invoices.owner_kind = 'job' AND invoices.owner_id = steps.owner_id AND invoices.state = 'expired'
 WHERE steps.owner_kind = 'job' AND steps.name = 'withdraw_invoice' AND steps.state IN ('queued', 'running')
ON CONFLICT DO NOTHING;

UPDATE steps SET state = 'done', lease_until = NULL, ended_at = now(), fault = 'replaced by invoice.withdraw'
 WHERE owner_kind = 'job' AND name = 'withdraw_invoice' AND state IN ('queued', 'running');
