"""
Formats of configuration files: each read to a document, and written from one.
"""
