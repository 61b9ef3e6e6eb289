"""
Tests of config.
"""
