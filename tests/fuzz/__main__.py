"""`python tests/fuzz`, or `python -m tests.fuzz` at the top of the repository."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

if __name__ == "__main__":
    from tests.fuzz.run import main

    sys.exit(main())
