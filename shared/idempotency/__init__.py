"""Idempotency keys: the same key and the same request give the same answer, once."""
