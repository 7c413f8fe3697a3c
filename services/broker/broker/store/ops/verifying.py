"""What a verified job's results are compared by, and who came to the one that counts.

Only the digests of earlier results are kept: the result that makes the quorum has just been delivered, whole, and is
the job's. So nothing is stored twice, and the artifacts of the others are nobody's once they are compared.
"""

import json
from typing import Any

from broker.domain.verification import result_digest
from broker.domain.words import AttemptOutcome
from broker.store.records.attempt import Completion
from broker.store.sql import life
from broker.store.transaction import Transaction

__all__ = ["digest_of", "with_witnesses"]


def digest_of(completion: Completion) -> str | None:
    """Equal for completions that tell the same result; None when it is no result of the program."""
    if completion.outcome not in (AttemptOutcome.COMPLETED, AttemptOutcome.FAILED):
        return None
    details: dict[str, Any] = json.loads(completion.details) if completion.details else {}
    streams = []
    for name, text, binary in (
        ("output", completion.output, completion.output_binary),
        ("error", completion.error, completion.error_binary),
    ):
        kept = text.encode() if binary is None else binary
        streams.append((kept, details.get(f"{name}_bytes", len(kept))))
    return result_digest(
        completion.failure or completion.outcome,
        completion.exit_code,
        details.get("signal"),
        streams,
        [(file.path, file.sha256) for file in completion.artifacts],
        [(file["path"], file.get("size")) for file in details.get("artifacts_dropped", ())],
    )


def with_witnesses(tx: Transaction, seq: int, digest: str | None, details: str | None) -> str:
    """The details of a result, and with them the nodes that came to it."""
    said: dict[str, Any] = json.loads(details) if details else {}
    nodes = [node_id for node_id, other in tx.rows(life.DIGESTS, {"seq": seq}) if other == digest]
    return json.dumps(said | {"verified": {"nodes": nodes, "result_sha256": digest}})
