"""Benchmarks: figures as ratios in one run, because machines differ and are noisy."""
