"""
Quorum devices: who has a vote besides the nodes, and what decides for whom.
"""
