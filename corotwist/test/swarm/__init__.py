"""
Tests drawn from seeds.
"""
