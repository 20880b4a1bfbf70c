"""Two sandbox Lightning nodes in one process: `lnd`, the merchant, and `wallet`, its customer.

Each has its own identity key, TLS certificate, macaroons, gRPC port and REST port, and speaks lnd's wire protocol; so
the product runs the client code it runs in production. Invoices are signed BOLT11 for regtest (prefix `lnbcrt`). Both
keep their books in one SQLite file, and a payment between them is one transaction: either the payer has paid, the
invoice is settled and the payee holds the money, or nothing happened. Both start with 10,000,000 sats.

    python -m devstack.lightning --home DIR [--host 127.0.0.1] [--lnd-grpc P] [--lnd-rest P]
                                 [--wallet-grpc P] [--wallet-rest P] [--control P]

A port that is absent or 0 is picked once and kept in DIR, as are keys and macaroons: a restart, even after SIGKILL,
changes no address. One JSON line on stdout says that everything listens; `DIR/ready.json` holds the same:

    {"ready": true, "control": "http://…",
     "lnd": {"grpc": "host:port", "rest": "https://…", "tls_cert": path, "pubkey": hex,
             "macaroon": hex, "macaroon_invoices": hex, "macaroon_payments": hex}, "wallet": {…}}

gRPC: lnrpc.Lightning {GetInfo, ChannelBalance, WalletBalance, DecodePayReq, AddInvoice, LookupInvoice, ListInvoices,
ListPayments, SubscribeInvoices}, invoicesrpc.Invoices {CancelInvoice, LookupInvoiceV2}, routerrpc.Router
{SendPaymentV2, TrackPaymentV2}; everything else answers UNIMPLEMENTED. REST (`gateway.py`) offers a part of it.

The control plane
=================
Plain HTTP with JSON bodies, loopback only, no credential: it is the tester's hand, not a part of a node.

`GET /health`              balances, what is held by payments in flight, what went to routers; their sum never changes
`POST /faults`             {"node": "lnd"|"wallet", "method": M, "fault": F, "times": N, "seconds": x, "payment_hash": hex}
                           `times` is 1 unless said, null means until deleted; `payment_hash` narrows it to one hash;
                           faults live in memory and end with the process
`DELETE /faults`           forgets every fault
`POST /down`               {"node", "down": bool}: the node's ports refuse connections, open streams die; not kept
`POST /fees`               {"base_msat", "ppm"}: what routers take between the nodes (kept; 0 and 0 at first)
`POST /settle-late`        {"payment_hash", "amount_msat"?}: an expired or cancelled invoice settles after all, as one does
                           whose HTLC was accepted before it expired
`POST /overpay`            {"payment_request", "amount_msat"}: the other node pays more than was asked
`POST /release`            {"payment_hash", "outcome": "succeed"|"fail", "reason"?}: ends a payment that is in flight or
                           initiated; `reason` as in `fail:` below

M is a gRPC method's name, or "*" for each method the fault can apply to. F is one of

`delay`                any method: waits `seconds`, then goes on (may be combined with one other fault)
`unavailable`          any method: UNAVAILABLE, nothing has happened
`hang`                 any method: nothing happens and no answer comes until the caller gives up (or `seconds` passed)
`drop_after_settle`    any method: the effect happens, then UNAVAILABLE instead of the answer: the outcome is unknown.
                       SubscribeInvoices is cut at the next settlement, before it is delivered; TrackPaymentV2 before
                       the final update
`drop_stream`          SubscribeInvoices: an open (or the next) stream is cut. TrackPaymentV2: cut after the first update.
                       SendPaymentV2: cut with the payment in flight; it succeeds after `seconds`, or waits for /release
`duplicate_events`     streams: a message is sent twice
`reorder_events`       SubscribeInvoices: an event waits up to `seconds` (default 0.5) to be overtaken by the next
`not_found`            LookupInvoice, LookupInvoiceV2, CancelInvoice, TrackPaymentV2: as if the hash were unknown
`fail:REASON`          SendPaymentV2 ends FAILED with FAILURE_REASON_REASON: TIMEOUT, NO_ROUTE, ERROR,
                       INCORRECT_PAYMENT_DETAILS, INSUFFICIENT_BALANCE or CANCELED
`stuck_in_flight`      SendPaymentV2: the money is locked, the stream stays open, until /release
`initiated`            SendPaymentV2: recorded with status 4 (INITIATED), nothing locked, until /release

What it isn't: there is one channel's worth of arithmetic between the two nodes and no network, no on-chain wallet, no
hold, AMP or keysend invoices, no multi-part payments.
"""
