"""
The Totem single-ring protocol: a pure core and its Twisted shell.
"""
