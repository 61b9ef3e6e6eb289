"""
The Corosync Cluster Engine on Twisted.
"""

__version__ = "0.1.0"
