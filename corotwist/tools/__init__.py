"""
Command lines: they print and ask, and never decide.
"""
