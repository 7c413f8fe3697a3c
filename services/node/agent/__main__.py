"""`python -m agent`: the agent itself, or with `--check` the container's health check.

The check is decided before anything else is imported: it runs every few seconds and must stay cheap.
"""

import sys

if "--check" in sys.argv[1:]:
    from agent.liveness import check

    sys.exit(check())

from agent.main import main

sys.exit(main())
