"""
What a story can say of a cluster, by its subjects.
"""
