"""
Tests of tools.
"""
