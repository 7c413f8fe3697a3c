"""What a trace is made of: jobs that have ended, with their attempts, some at a time."""

from sqlalchemy import select

from broker.store.records.history import Part
from broker.store.sql.compile import compiled, each
from broker.store.tables import attempts, job_inputs, job_states

__all__ = ["HISTORIES", "PARTS"]

j = job_states.c

HISTORIES = compiled(
    select(
        j.seq, j.id, j.interpreter, j.class_key, j.priority, j.status, j.failure, j.exit_code, j.created_at,
        j.completed_at, j.result_of, job_inputs.c.request_id,
    )
    .select_from(job_states.outerjoin(job_inputs, job_inputs.c.seq == j.seq))
    .where(j.id.in_(each("ids")), j.completed_at.is_not(None))
)  # fmt: skip

PARTS = compiled(
    select(attempts.c.seq, *(attempts.c[name] for name in Part._fields))
    .where(attempts.c.seq.in_(each("seqs")))
    .order_by(attempts.c.seq, attempts.c.fence)
)
