"""
Runs drawn from a seed.
"""
