"""What operators ask about many leads at once: coverage and its gaps, near misses, acceptance.

The reckoning is pure: terms and what happened in, plain values out. `run` reads the past beside a running daemon, in a
process of its own, so that no lead waits for a report.
"""
