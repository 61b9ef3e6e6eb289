"""
Tests of quorum devices.
"""
