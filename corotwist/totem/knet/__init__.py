"""
The wire of kronosnet.
"""
