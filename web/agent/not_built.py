"""Operations of the paid-agent contract that this version does not have: method, path, operationId."""

REASON = "prepaid sessions, refund claims and the free demo are not built yet"

NOT_BUILT = (
    ("POST", "/api/jobs/{id}/refund", "claimRefund"),
    ("POST", "/api/sessions", "createSession"),
    ("GET", "/api/sessions/{id}", "getSession"),
    ("POST", "/api/sessions/{id}/request", "submitSessionRequest"),
    ("POST", "/api/sessions/{id}/topup", "topupSession"),
    ("GET", "/api/demo", "runDemo"),
)
