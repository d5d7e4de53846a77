"""Archstone beside its peers: `python -m benchmarks.<block> [--quick]`, one script per block."""
