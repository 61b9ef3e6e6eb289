"""
Local clients: AMP over UNIX sockets.
"""
