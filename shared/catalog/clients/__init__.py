"""Clients of the catalogue: what upstreams say of themselves."""
