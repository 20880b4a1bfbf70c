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
