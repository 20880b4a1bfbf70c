"""Macaroons: who holds one may do what its caveats still allow."""
