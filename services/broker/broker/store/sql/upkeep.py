"""Statements of sessions, sweeps and starting up."""

from typing import Any

from sqlalchemy import and_, bindparam, delete, func, insert, literal_column, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from broker.store.sql.compile import compiled, each, word
from broker.store.tables import (
    attempts,
    broker_state,
    idempotency_keys,
    job_inputs,
    job_results,
    job_states,
    nodes,
    tombstones,
)

j = job_states.c
n = nodes.c
p = bindparam

WHOSE = func.coalesce(j.owner, j.submitter)
WAITING = and_(j.status == word("pending"), j.run_at.is_not(None))

# ---- nodes

_REGISTERED: dict[str, Any] = {
    name: p(name)
    for name in (
        "secret_hash",
        "session_hash",
        "endpoint",
        "capabilities",
        "slots",
        "name",
        "version",
        "lease_until",
        "joined_with",
    )
}
REGISTER = compiled(
    upsert(nodes)
    .values(
        id=p("node_id"),
        registered_at=p("now"),
        last_heartbeat=p("now"),
        session_number=1,
        draining=literal_column("0"),
        jobs_completed=0,
        jobs_failed=0,
        **_REGISTERED,
    )
    .on_conflict_do_update(
        index_elements=["id"],
        set_={
            **_REGISTERED,
            "last_heartbeat": p("now"),
            "session_number": n.session_number + 1,
        },
    )
    .returning(n.session_number)
)
SAVE_LEASE = compiled(
    update(nodes).where(n.id == p("node")).values(lease_until=p("lease"), last_heartbeat=p("heartbeat"))
)
END_LEASE = compiled(update(nodes).where(n.id == p("node"), n.lease_until > p("now")).values(lease_until=p("now")))
SET_DRAINING = compiled(update(nodes).where(n.id == p("node")).values(draining=p("drain")))
FORGET_NODES = compiled(
    # A node that was silent for long and holds nothing.
    delete(nodes)
    .where(
        n.last_heartbeat < p("before"),
        n.lease_until < p("before"),
        ~select(j.seq).where(j.node_id == n.id, j.deadline_at.is_not(None)).exists(),
    )
    .returning(n.id)
)

# ---- sweeps

PROMOTE = compiled(
    update(job_states)
    .where(
        j.seq.in_(select(j.seq).where(WAITING, j.run_at <= p("now")).order_by(j.run_at).limit(p("limit"))),
        WAITING,
    )
    .values(run_at=literal_column("NULL"))
    .returning(j.class_key, j.rank)
)
NEXT_DUE = compiled(select(func.min(j.run_at)).where(WAITING))
EXPIRED = compiled(
    select(j.seq, j.id, j.status, j.owner, j.stored_bytes)
    .where(j.expires_at.is_not(None), j.expires_at <= p("now"))
    .order_by(j.expires_at)
    .limit(p("limit"))
)
BURY = compiled(upsert(tombstones).values(id=p("id"), deleted_at=p("now"), owner=p("owner")).on_conflict_do_nothing())
DELETE_STATES = compiled(delete(job_states).where(j.seq.in_(each("seqs"))))
DELETE_INPUTS = compiled(delete(job_inputs).where(job_inputs.c.seq.in_(each("seqs"))))
DELETE_RESULTS = compiled(delete(job_results).where(job_results.c.seq.in_(each("seqs"))))
DELETE_ATTEMPTS = compiled(delete(attempts).where(attempts.c.seq.in_(each("seqs"))))
OLD_TOMBSTONES = compiled(
    delete(tombstones).where(
        tombstones.c.id.in_(
            select(tombstones.c.id)
            .where(tombstones.c.deleted_at < p("before"))
            .order_by(tombstones.c.deleted_at)
            .limit(p("limit"))
        )
    )
)
OLD_KEYS = compiled(
    delete(idempotency_keys).where(
        idempotency_keys.c.key.in_(
            select(idempotency_keys.c.key)
            .where(idempotency_keys.c.created_at < p("before"))
            .order_by(idempotency_keys.c.created_at)
            .limit(p("limit"))
        )
    )
)

# ---- idempotency

FIND_KEY = compiled(
    select(idempotency_keys.c.body_hash, idempotency_keys.c.job_ids).where(idempotency_keys.c.key == p("key"))
)
SAVE_KEY = compiled(
    insert(idempotency_keys).values(key=p("key"), body_hash=p("body_hash"), job_ids=p("job_ids"), created_at=p("now"))
)

# ---- start

READ_CLOCK = compiled(select(broker_state.c.clock).where(broker_state.c.id == 1))
SAVE_CLOCK = compiled(
    upsert(broker_state)
    .values(id=1, clock=p("now"))
    .on_conflict_do_update(index_elements=["id"], set_={"clock": p("now")})
)
GRANT_LEASES = compiled(
    # Whoever had a lease when the broker stopped gets a fresh one: an outage must not evict the fleet.
    update(nodes).where(n.lease_until > p("stopped_at"), n.lease_until < p("until")).values(lease_until=p("until"))
)
GRANT_TIME = compiled(
    update(job_states).where(j.deadline_at.is_not(None), j.deadline_at < p("until")).values(deadline_at=p("until"))
)
TOTALS = compiled(select(j.status, func.count()).group_by(j.status))
PENDING_CLASSES = compiled(select(j.class_key).where(j.status == word("pending"), j.run_at.is_(None)).distinct())
PENDING_FLOWS = compiled(
    select(j.class_key, WHOSE, j.priority, func.min(j.rank), func.max(j.rank), func.count())
    .where(j.status == word("pending"))
    .group_by(j.class_key, WHOSE, j.priority)
)
