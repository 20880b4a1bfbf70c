"""Submitted code, run where it can do no harm: no files, no network, no processes, bounded time, memory and output."""
