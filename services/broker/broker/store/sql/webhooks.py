"""Statements about webhooks."""

from sqlalchemy import and_, bindparam, delete, insert, select, update

from broker.store.sql.compile import compiled, each, word
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
ONE = compiled(select(*COLUMNS).where(w.id == p("at_id")))
_unfinished = select(job_states.c.seq).where(job_states.c.id == w.job_id, job_states.c.completed_at.is_(None)).exists()
OWED = compiled(
    # Some at a time: there may be very many.
    select(w.id, w.job_id, w.next_at, w.payload.is_not(None), ~_unfinished)
    .where(w.state == word("owed"), w.id > p("after"))
    .order_by(w.id)
    .limit(p("limit"))
)
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
_settled = w.state != word("owed")
_job_is_gone = ~select(job_states.c.seq).where(job_states.c.id == w.job_id).exists()
DELETE_OF_JOBS = compiled(
    # What is still owed is told although its job has gone.
    delete(webhooks).where(w.job_id.in_(each("job_ids")), _settled)
)
DELETE_LEFT = compiled(delete(webhooks).where(w.id == p("at_id"), _settled, _job_is_gone))
PAGE = compiled(
    # Some at a time, with whether they are left over.
    select(w.id, and_(_settled, _job_is_gone)).where(w.id > p("after")).order_by(w.id).limit(p("limit"))
)
DELETE = compiled(delete(webhooks).where(w.id.in_(each("ids"))))
