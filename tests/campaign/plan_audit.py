"""What must hold of plans and quotas when the noise is over: every query finds nothing."""

from __future__ import annotations

PLANS_NEVER = {
    "paid purchases without just one grant, or others with one": """
        SELECT plan_purchases.id FROM plan_purchases LEFT JOIN plan_grants ON purchase_id = plan_purchases.id
         GROUP BY plan_purchases.id, state HAVING count(plan_grants.id) <> (state = 'paid')::int""",
    "paid purchases that were not earned just once, at the price of their invoice": """
        SELECT plan_purchases.id FROM plan_purchases JOIN invoices ON owner_kind = 'plan' AND invoices.owner_id = plan_purchases.id
          LEFT JOIN entries ON kind = 'earn' AND ref = 'plan:' || plan_purchases.id || ':plan'
          LEFT JOIN postings ON entry_id = entries.id AND account = 'revenue_plans'
         WHERE plan_purchases.state = 'paid' GROUP BY plan_purchases.id, invoices.amount_msat
        HAVING coalesce(-sum(postings.amount_msat), 0) <> invoices.amount_msat OR count(postings.id) <> 1""",
    "purchases that hold money": """
        SELECT owner_id FROM postings WHERE account = 'customer' AND owner_kind = 'plan' GROUP BY owner_id HAVING sum(amount_msat) <> 0""",
    "grants of one tenant and tier that overlap": """
        SELECT one.id FROM plan_grants AS one JOIN plan_grants AS other ON one.tenant = other.tenant AND one.tier = other.tier
           AND one.id < other.id AND one.starts_at < other.ends_at AND other.starts_at < one.ends_at""",
    "purchases whose row and last event differ": """
        SELECT plan_purchases.id FROM plan_purchases WHERE state IS DISTINCT FROM
          (SELECT to_state FROM events
            WHERE owner_kind = 'plan' AND owner_id = plan_purchases.id AND to_state IS NOT NULL ORDER BY seq DESC LIMIT 1)""",
    "quotas that are not the sum of their units": """
        SELECT tenant, mode, period FROM quotas LEFT JOIN quota_units USING (tenant, mode, period)
         GROUP BY tenant, mode, period, quotas.forward, quotas.reverse
        HAVING forward <> count(*) FILTER (WHERE pipeline = 'forward' AND given_back_at IS NULL)
            OR reverse <> count(*) FILTER (WHERE pipeline = 'reverse' AND given_back_at IS NULL)""",
}
