"""Statements for a database that comes back from a backup."""

from sqlalchemy import bindparam, select, update

from broker.store.sql.compile import compiled
from broker.store.tables import job_states, nodes

j = job_states.c
n = nodes.c
p = bindparam

NODES = compiled(select(n.id, n.session_number))
END_SESSIONS = compiled(
    # No session secret has this hash: every node has to register.
    update(nodes).values(
        session_hash=p("no_hash"),
        session_number=n.session_number + 1,
        lease_until=p("now"),
        last_heartbeat=n.last_heartbeat + p("away"),
    )
)
RAISE_FENCES = compiled(update(job_states).where(j.completed_at.is_(None)).values(fence=j.fence + p("step")))
PROLONG = compiled(update(job_states).where(j.expires_at.is_not(None)).values(expires_at=j.expires_at + p("away")))
