"""
Tests; the folders mirror the package.
"""

import os

from hypothesis import settings

# Continuous integration repeats what it did; at home every run tries something
# new, and prints how to repeat it.  No test is judged by the clock on the wall.
settings.register_profile(
    "corotwist", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True
)
settings.load_profile("corotwist")
