"""Benchmarks: each says what it measures, beside what, in one run."""
