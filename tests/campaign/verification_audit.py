"""What must hold of verifications when the noise is over: every query finds nothing."""

from __future__ import annotations

VERIFICATIONS_AT_REST = {
    "verifications that have not ended": "SELECT id, state FROM verifications WHERE ended_at IS NULL",
    "attempts at stages of ended verifications that are not over": """
        SELECT verification_stages.id FROM verification_stages JOIN verifications ON verifications.id = verification_id
         WHERE verifications.ended_at IS NOT NULL AND verification_stages.state = 'running'""",
}

VERIFICATIONS_NEVER = {
    "units of the quota that two verifications hold, or that were given back and are held": """
        SELECT quota_unit FROM verifications JOIN quota_units ON quota_units.id = quota_unit
         GROUP BY quota_unit, given_back_at HAVING count(*) > 1 OR given_back_at IS NOT NULL""",
    "units of the quota that nobody holds and that were not given back": """
        SELECT id FROM quota_units WHERE given_back_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM verifications WHERE quota_unit = quota_units.id)""",
    "complete or cancelled verifications without just one receipt, or others with one": """
        SELECT verifications.id FROM verifications
          LEFT JOIN receipts ON owner_kind = pipeline AND owner_id = verifications.id AND kind = 'verification'
         GROUP BY verifications.id HAVING count(receipts.id) <> (verifications.state IN ('complete', 'cancelled'))::int""",
    "complete verifications without each stage done once": """
        SELECT verifications.id FROM verifications
          JOIN verification_stages ON verification_id = verifications.id AND verification_stages.state = 'done'
         WHERE verifications.state = 'complete' GROUP BY verifications.id
        HAVING count(*) <> CASE pipeline WHEN 'forward' THEN 3 ELSE 5 END""",
    "verifications whose row and last event differ": """
        SELECT verifications.id FROM verifications WHERE state IS DISTINCT FROM
          (SELECT to_state FROM events
            WHERE owner_kind = pipeline AND owner_id = verifications.id AND to_state IS NOT NULL ORDER BY seq DESC LIMIT 1)""",
    "event streams of verifications with gaps": """
        SELECT owner_kind, owner_id FROM events WHERE owner_kind IN ('forward', 'reverse')
         GROUP BY owner_kind, owner_id HAVING min(seq) <> 1 OR max(seq) <> count(*)""",
}
