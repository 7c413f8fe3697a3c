"""Entry point of `python -m broker` (the broker) and `python -m broker keys …` (its keys)."""

import sys

from broker import keys_command
from broker.main import main

if sys.argv[1:2] == ["keys"]:
    sys.exit(keys_command.main(sys.argv[2:]))
main()
