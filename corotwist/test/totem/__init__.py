"""
Tests of totem.
"""
