"""Entry point of `python -m broker` (the broker) and its commands: `keys …`, `backup`, `restore`.

Each loads what it needs and no more: a command then starts in a third of the broker's time.
"""

import sys


def main() -> int:
    """What the first argument names; the broker without one."""
    match sys.argv[1:2]:
        case ["keys"]:
            from broker import keys_command

            return keys_command.main(sys.argv[2:])
        case ["backup"]:
            from broker.backup import command

            return command.backup(sys.argv[2:])
        case ["restore"]:
            from broker.backup import command

            return command.restore(sys.argv[2:])
        case _:
            from broker.main import main as serve

            serve()
            return 0


sys.exit(main())
