"""
Tests of scenarios.
"""
