"""
Counters that are the same on every node: an engine of a third party.
"""
