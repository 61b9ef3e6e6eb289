"""
Deliberate errors in the production code, for the judges to find.
"""
