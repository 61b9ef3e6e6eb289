"""
Whatever comes from outside, changed in every way we can think of.
"""
