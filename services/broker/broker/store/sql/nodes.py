"""Statements about the history of nodes."""

from sqlalchemy import bindparam, delete, func, insert, select, tuple_

from broker.store.sql.compile import compiled, each
from broker.store.sql.reads import ATTEMPT_NAMES
from broker.store.tables import attempts, job_states, node_events, nodes

a = attempts.c
e = node_events.c
j = job_states.c
p = bindparam

EVENT_COLUMNS = ("node_id", "at", "kind", "session_number", "attempts", "reason", "whose")
INSERT_EVENT = compiled(insert(node_events).values({name: p(name) for name in EVENT_COLUMNS}))
TRIM_EVENTS = compiled(
    # All but the newest of a node's.
    delete(node_events).where(
        e.node_id == p("node"),
        e.seq
        <= select(e.seq)
        .where(e.node_id == p("node"))
        .order_by(e.seq.desc())
        .limit(1)
        .offset(p("kept"))
        .scalar_subquery(),
    )
)
FORGET_EVENTS = compiled(delete(node_events).where(e.node_id.in_(each("nodes"))))
EVENTS = compiled(
    select(*(e[name] for name in EVENT_COLUMNS))
    .where(e.node_id == p("node_id"))
    .order_by(e.seq.desc())
    .limit(p("limit"))
)
SESSION = compiled(select(nodes.c.session_number, nodes.c.draining).where(nodes.c.id == p("node_id")))
ATTEMPTS_OF_NODE = compiled(
    # The newest first, from a place on; the index has them in this order.
    select(a.seq, j.id, j.owner, *(a[name] for name in ATTEMPT_NAMES))
    .select_from(attempts.join(job_states, j.seq == a.seq))
    .where(a.node_id == p("node_id"), tuple_(a.claimed_at, a.seq, a.fence) < tuple_(p("at"), p("seq"), p("fence")))
    .order_by(a.claimed_at.desc(), a.seq.desc(), a.fence.desc())
    .limit(p("limit"))
)
HELD_OF_NODE = compiled(
    select(
        j.id, j.owner, j.status, j.fence, j.attempt, a.claimed_at, j.started_at, j.deadline_at, j.cancel_requested_at
    )
    .select_from(job_states.join(attempts, (a.seq == j.seq) & (a.fence == j.fence)))
    .where(j.node_id == p("node_id"), j.deadline_at.is_not(None))
    .order_by(j.seq)
    .limit(p("limit"))
)
COUNT_EVENTS = compiled(select(func.count()).select_from(node_events).where(e.node_id == p("node_id")))
