"""`python -m supervisor`: the node container's main program."""

import sys

from supervisor.main import main

sys.exit(main())
