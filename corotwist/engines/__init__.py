"""
Service engines: driven by ordered messages, the same on every node.
"""
