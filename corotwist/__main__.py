"""
C{python -m corotwist}: the same as the command C{corotwist}.
"""

from corotwist.tools.main import main

if __name__ == "__main__":
    main()
