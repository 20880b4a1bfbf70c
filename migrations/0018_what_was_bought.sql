-- Purchases can be listed, and the planned end of a key is no revocation: a clock that is put back brings no revoked key to life.

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX plan_purchases_tenant ON plan_purchases (tenant, id);

-- When a key ends whose successor was made with an overlap.
ALTER TABLE api_keys ADD COLUMN ends_at timestamptz;
UPDATE api_keys SET ends_at = revoked_at, revoked_at = NULL WHERE revoked_at > now();
