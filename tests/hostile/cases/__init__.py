"""The catalogue: one class of attack is one module, or a few."""

from hostile.cases import (
    archives,
    collecting,
    controls,
    cpu,
    disk,
    files,
    kernel_memory,
    kills,
    lifecycle,
    memory,
    neighbours,
    network,
    node_files,
    output,
    processes,
    submissions,
    surroundings,
    system_calls,
    verdicts,
    wall,
    wire,
)
from hostile.http_attacks import HttpAttack
from hostile.model import Attack

__all__ = ["GROUPS", "attacks", "http_attacks"]

GROUPS = {
    "controls": controls.CASES,
    "verdicts": [*verdicts.CASES, *kills.CASES],
    "wall": wall.CASES,
    "cpu": cpu.CASES,
    "memory": [*memory.CASES, *kernel_memory.CASES],
    "processes": processes.CASES,
    "output": output.CASES,
    "files": [*files.CASES, *disk.CASES, *collecting.CASES],
    "archives": archives.CASES,
    "system-calls": system_calls.CASES,
    "surroundings": [*surroundings.CASES, *node_files.CASES],
    "network": network.CASES,
    "neighbours": neighbours.CASES,
}


def attacks(*, slow: bool = False) -> list[Attack]:
    """Every attack of the catalogue; those marked slow only when asked for."""
    return [
        attack
        for group, cases in GROUPS.items()
        for case in cases
        if slow or not case.slow
        for attack in case.attacks(group)
    ]


def http_attacks(*, slow: bool = False) -> list[HttpAttack]:
    """Every attack on the HTTP surface; those marked slow only when asked for."""
    modules = (submissions, lifecycle, wire)
    return [attack for module in modules for attack in module.ATTACKS if slow or not attack.slow]
