"""Reads source code without running it: its functions and lines, the same text without comments, cuts, faults. Pure."""
