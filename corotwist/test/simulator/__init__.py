"""
Tests of simulator.
"""
