"""Reading what /metrics says."""

from __future__ import annotations

import asyncio

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from support.http_connection import Connection, json_request


class Scrape:
    """One exposition, parsed; ValueError when it is none."""

    def __init__(self, text: str) -> None:
        self.families: list[Metric] = list(text_string_to_metric_families(text))
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in self.families:
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples, f"twice: {key}"
                self.samples[key] = sample.value

    def __call__(self, name: str, **labels: str) -> float:
        """The value of one series."""
        return self.samples[name, frozenset(labels.items())]

    def by(self, name: str, label: str) -> dict[str, float]:
        """The values of a metric by one label, summed over the others; without those that are 0."""
        sums: dict[str, float] = {}
        for (found, labels), value in self.samples.items():
            if found == name and value:
                key = dict(labels)[label]
                sums[key] = sums.get(key, 0) + value
        return sums


async def scrape(port: int) -> Scrape:
    """What a broker says now."""
    connection = await Connection.open(port)
    async with asyncio.timeout(60):
        answer = await connection.send(json_request("GET", "/metrics"))
    connection.abort()
    return Scrape(answer.body.decode())
