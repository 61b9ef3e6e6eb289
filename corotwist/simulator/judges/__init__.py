"""
Who watches a run, and which promises each of them holds against it.
"""
