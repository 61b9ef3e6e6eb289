"""
Tests of engines.
"""
