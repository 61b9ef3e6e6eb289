"""
Tests of interop.
"""
