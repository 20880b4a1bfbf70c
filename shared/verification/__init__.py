"""Verification: claims that are run, and code that is held against its specifications."""
