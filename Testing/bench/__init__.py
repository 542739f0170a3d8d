"""Benchmarks: every step beside a peer, in one run, as ratios. `make bench` prints them; no test asserts a time."""
