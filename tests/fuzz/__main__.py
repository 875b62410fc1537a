"""`python -m tests.fuzz` at the top of the repository."""

import sys

from tests.fuzz.run import main

if __name__ == "__main__":
    sys.exit(main())
