"""Statements about webhooks."""

from sqlalchemy import bindparam, delete, insert, select, update

from broker.store.sql.compile import compiled, word
from broker.store.tables import job_states, webhooks

w = webhooks.c
p = bindparam

COLUMNS = (w.id, w.job_id, w.url, w.state, w.attempts, w.created_at, w.next_at, w.payload, w.deliveries)
INSERT = compiled(
    insert(webhooks).values(
        id=p("id"),
        job_id=p("job_id"),
        url=p("url"),
        state=word("owed"),
        attempts=0,
        created_at=p("now"),
        deliveries=word("[]"),
    )
)
OWED = compiled(select(*COLUMNS).where(w.state == word("owed")))
OF_JOB = compiled(select(*COLUMNS).where(w.job_id == p("job_id")).order_by(w.created_at))
SAVE = compiled(
    update(webhooks)
    .where(w.id == p("at_id"))
    .values(
        state=p("new_state"),
        attempts=p("new_attempts"),
        next_at=p("new_next"),
        payload=p("new_payload"),
        deliveries=p("new_deliveries"),
    )
)
FORGET = compiled(
    # What is settled goes when its job has gone.
    delete(webhooks).where(
        w.id.in_(
            select(w.id)
            .where(
                w.state != word("owed"),
                ~select(job_states.c.seq).where(job_states.c.id == w.job_id).exists(),
            )
            .limit(p("limit"))
        )
    )
)
