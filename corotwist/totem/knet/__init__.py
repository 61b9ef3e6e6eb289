"""
The wire of kronosnet: several links, each watched, below one ring.
"""
