"""How far verdicts can be trusted: a corpus of functions with seeded defects, and what the pipelines and a bare opinion say of them.

`python -m benchmarks.verification` asks a model; the section of `make bench` measures speed alone.
"""

from benchmarks.verification.section import measure

__all__ = ["measure"]
