"""`python node.py --broker URL --sandrun URL --config FILE`: the agent alone, next to any sandrun. See docs/node.md."""

import sys

from agent.main import main

if __name__ == "__main__":
    sys.exit(main())
