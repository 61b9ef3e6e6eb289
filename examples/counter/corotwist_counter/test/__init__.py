"""
Tests of the counters, on simulated clusters.
"""
