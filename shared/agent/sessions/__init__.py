"""Prefunded sessions: pay once, ask often, take the rest home."""
