"""`python -m hostile URL`: the whole catalogue against any deployment, with a report that an operator can show.

URL is a sandrun's or a broker's. With --container NAME (on this machine's Docker engine) the node is also looked into:
processes, zombies, descriptors, memory and files must be back to their base at the end. Exit code 0: everything held.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hostile.campaign import Campaign, Report
from hostile.cases import attacks, http_attacks
from hostile.client import Target
from hostile.http_attacks import HttpAttack, run_http_attack
from hostile.model import Attack
from hostile.node_view import NodeView
from hostile.report import Table


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m hostile", description=__doc__.splitlines()[0])
    parser.add_argument("url", help="a sandrun's or a broker's address, such as http://127.0.0.1:8443")
    parser.add_argument("--container", help="the node's container on this machine, to look for what is left behind")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PATTERN", help="such as 'memory/*' or '*[[]ruby]'"
    )
    parser.add_argument("--copies", type=int, default=1, help="run so many copies of everything at once")
    parser.add_argument("--attackers", type=int, help="attacks at once in one copy (default: all slots but one)")
    parser.add_argument("--fast", action="store_true", help="leave out what is marked slow")
    parser.add_argument("--verbose", action="store_true", help="a line for each attack, not only for failures")
    parser.add_argument("--report", type=Path, help="write the full table to this Markdown file")
    parser.add_argument("--list", action="store_true", help="only list the attacks")
    return parser.parse_args(arguments)


def chosen(options: argparse.Namespace) -> tuple[list[Attack], list[HttpAttack]]:
    """The attacks that --only and --fast leave."""

    def wanted(name: str) -> bool:
        return not options.only or any(fnmatch.fnmatch(name, pattern) or pattern in name for pattern in options.only)

    jobs = [attack for attack in attacks(slow=not options.fast) if wanted(attack.id)]
    return jobs, [attack for attack in http_attacks(slow=not options.fast) if wanted(attack.id)]


def fits(attack: Attack, target: Target) -> bool:
    """Whether the target has what the attack is about: a broker that takes JSON alone unpacks and keeps no files."""
    return target.takes_uploads or not (attack.case.uploads or attack.case.collect)


def run(options: argparse.Namespace) -> bool:
    """Run everything; True when it all held."""
    jobs, requests = chosen(options)
    if options.list:
        print("\n".join([*(attack.id for attack in jobs), *(attack.id for attack in requests)]))
        return True
    table = Table(quiet=not options.verbose)
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(NodeView(options.container)) if options.container else None
        base = node.look(files=True) if node else None
        copies = [Campaign(options.url, attackers=options.attackers, node=node) for _ in range(options.copies)]
        with contextlib.ExitStack() as running:
            for copy in copies:
                running.enter_context(copy)
            _jobs(copies, [attack for attack in jobs if fits(attack, copies[0].target)], table)
            _http(copies[0], requests, table)
        final = node.base_problems(base) if node and base else []
        facts = (
            ("target", options.url),
            ("kind", "broker" if copies[0].target.is_broker else "sandrun"),
            ("isolation", copies[0].target.description.get("isolation", "not told")),
            ("copies at once", options.copies),
            ("neighbours' jobs unharmed", sum(s.problem is None for c in copies for s in c.neighbour.seen)),
            ("neighbours' jobs harmed", sum(s.problem is not None for c in copies for s in c.neighbour.seen)),
            ("slowest /health", f"{max(copy.health.slowest() for copy in copies):.3f} s"),
            ("left behind", ("nothing" if not final else "see below") if node else "not looked (no --container)"),
        )
    print(table.summary(facts, final))
    if options.report:
        options.report.write_text(table.markdown())
    return not table.failures and not final


def _jobs(copies: Sequence[Campaign], jobs: Sequence[Attack], table: Table) -> None:
    def done(report: Report) -> None:
        attack, outcome = report.attack, report.outcome
        name = f"{attack.case.name}[{attack.interpreter}]"
        verdict, seconds = (outcome.verdict, outcome.seconds) if outcome else ("-", 0.0)
        table.add(attack.group, name, attack.case.why, verdict, seconds, report.problems)

    futures = [future for copy in copies for future in copy.launch(jobs, done).values()]
    for future in futures:
        future.result()


def _http(campaign: Campaign, requests: Sequence[HttpAttack], table: Table) -> None:
    for attack in requests:
        if campaign.target.is_broker and not attack.broker:
            continue
        started = time.monotonic()
        problems = run_http_attack(campaign, attack)
        slowest = campaign.health.slowest(started)
        table.add("http", attack.name, attack.why, f"{slowest * 1000:.0f} ms", time.monotonic() - started, problems)


if __name__ == "__main__":
    sys.exit(0 if run(parse(sys.argv[1:])) else 1)
