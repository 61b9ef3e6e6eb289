"""
Tests of the client libraries under their C names.
"""
