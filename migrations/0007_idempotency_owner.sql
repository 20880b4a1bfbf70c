-- An idempotency key names what was made under it, in the transaction that makes it: a repeated request finds it whoever died. NOT VALID saves
-- a scan: no row there is has either column yet.

ALTER TABLE idempotency_keys
    ADD COLUMN owner_kind text,
    ADD COLUMN owner_id   bigint,
    ADD CONSTRAINT idempotency_owner_is_whole CHECK ((owner_kind IS NULL) = (owner_id IS NULL)) NOT VALID;
