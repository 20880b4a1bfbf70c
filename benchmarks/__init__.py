"""The benchmarks: absolute values, and ratios against a peer or floor measured in the same run. `python -m benchmarks`.

What they found is in `docs/performance.md`. Not a part of the product: nothing of it is imported elsewhere.
"""
