"""
The client libraries under their C names, for programs without a reactor: calls
that wait for their answers, numbers for errors, callbacks from a dispatch call.
"""
