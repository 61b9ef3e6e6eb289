"""
Configuration: files, schema and settings.
"""
