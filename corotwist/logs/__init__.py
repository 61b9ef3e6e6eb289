"""
The log: who says what, which of it is kept, and where it goes.
"""
