"""
Tests of ipc.
"""
