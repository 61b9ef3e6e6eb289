"""
Directories for sockets, whose paths must be short wherever trial runs.
"""

import tempfile
from pathlib import Path
from shutil import rmtree

from twisted.trial.unittest import SynchronousTestCase


def shortDirectory(case: SynchronousTestCase) -> Path:
    """
    A new directory with a short absolute path, gone when the test ends.
    """
    directory = Path(tempfile.mkdtemp(prefix="ct-"))
    case.addCleanup(rmtree, directory)
    directory.chmod(0o755)
    return directory
