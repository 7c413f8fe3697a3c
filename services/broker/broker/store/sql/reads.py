"""Statements of the read-only connection."""

from sqlalchemy import bindparam, func, literal_column, select, text, tuple_

from broker.store.sql.compile import compiled, word
from broker.store.tables import attempts, job_inputs, job_results, job_states, nodes, tombstones

j = job_states.c
p = bindparam
leader = job_states.alias("leader")

JOB_COLUMNS = (
    j.id,
    j.status,
    j.interpreter,
    j.class_key,
    j.priority,
    j.timeout,
    j.max_retries,
    j.submitter,
    j.owner,
    j.labels,
    j.node_id,
    j.attempt,
    j.losses,
    j.fence,
    j.created_at,
    j.started_at,
    j.completed_at,
    j.expires_at,
    j.run_at,
    j.give_up_at,
    j.cancel_requested_at,
    j.follows,
    j.result_of,
    j.failure,
    j.exit_code,
    j.dialect,
    j.file_count,
    j.rank,
    j.reruns,
    j.replicas,
    j.quorum,
    j.results,
    j.equal,
    j.seq,
)
JOB = compiled(select(*JOB_COLUMNS).where(j.id == p("job_id")))
RESULT = compiled(
    select(
        *JOB_COLUMNS,
        *(job_results.c[name] for name in ("output", "error", "details", "output_binary", "error_binary")),
    )
    .select_from(job_states.outerjoin(job_results, job_results.c.seq == func.coalesce(j.result_of, j.seq)))
    .where(j.id == p("job_id"))
)
INPUT = compiled(
    select(*JOB_COLUMNS, job_inputs.c.code, job_inputs.c.spec, j.retry_on, j.dedupe_key)
    .select_from(job_states.join(job_inputs, job_inputs.c.seq == j.seq))
    .where(j.id == p("job_id"))
)
TOMBSTONE = compiled(select(tombstones.c.id).where(tombstones.c.id == p("job_id")))
ATTEMPT_NAMES = (
    "number",
    "fence",
    "node_id",
    "session_number",
    "claimed_at",
    "started_at",
    "ended_at",
    "outcome",
    "failure",
    "exit_code",
    "wall_seconds",
    "cpu_seconds",
    "memory_peak_bytes",
    "output_digest",
    "message",
)
ATTEMPTS = compiled(
    select(*(attempts.c[name] for name in ATTEMPT_NAMES), attempts.c.result_digest)
    .select_from(attempts.join(job_states, job_states.c.seq == attempts.c.seq))
    .where(j.id == p("job_id"))
    .order_by(attempts.c.fence)
)
_before_it = (
    j.status == word("pending"),
    j.run_at.is_(None),
    j.class_key == p("class_key"),
    tuple_(j.rank, j.seq) < tuple_(p("rank"), p("seq")),
)
COUNT_AHEAD = compiled(
    # At most `most` entries of the claim index are looked at.
    select(func.count()).select_from(select(literal_column("1")).where(*_before_it).limit(p("most")).subquery())
)
WHOSE_AHEAD = compiled(
    # Whose the first of them are.
    select(literal_column("whose"), func.count())
    .select_from(
        select(func.coalesce(j.owner, j.submitter).label("whose"))
        .where(*_before_it)
        .order_by(j.rank, j.seq)
        .limit(p("most"))
        .subquery()
    )
    .group_by(literal_column("whose"))
)
LEADER = compiled(
    # The identical job whose end another waits for.
    select(leader.c.id, leader.c.status)
    .select_from(job_states.join(leader, leader.c.seq == j.follows))
    .where(j.id == p("job_id"))
)
REQUEST_OF = compiled(
    select(job_inputs.c.request_id)
    .select_from(job_states.join(job_inputs, job_inputs.c.seq == j.seq))
    .where(j.id == p("job_id"))
)
RESULT_DETAILS = compiled(
    select(job_results.c.details)
    .select_from(job_states.join(job_results, job_results.c.seq == func.coalesce(j.result_of, j.seq)))
    .where(j.id == p("job_id"))
)
HELD_BY = compiled(
    select(j.id, j.fence, j.claim_number, j.cancel_requested_at).where(
        j.node_id == p("node_id"), j.deadline_at.is_not(None)
    )
)
STATE_OF = compiled(select(j.status, j.fence, j.failure).where(j.id == p("job_id")))
NODE_COLUMNS = (
    "id",
    "secret_hash",
    "session_hash",
    "session_number",
    "endpoint",
    "capabilities",
    "slots",
    "name",
    "version",
    "draining",
    "registered_at",
    "last_heartbeat",
    "lease_until",
    "jobs_completed",
    "jobs_failed",
    "joined_with",
)
NODES = compiled(select(*(nodes.c[name] for name in NODE_COLUMNS)).order_by(nodes.c.registered_at, nodes.c.id))
NODE_COUNTERS = compiled(select(nodes.c.id, nodes.c.jobs_completed, nodes.c.jobs_failed))
HELD_COUNTS = compiled(select(j.node_id, func.count()).where(j.deadline_at.is_not(None)).group_by(j.node_id))
_list = (
    # Newest first. A filter that is NULL does not filter; seq is the primary key, so a page is a short walk unless a
    # filter is rare, which is why the reader runs this away from the event loop.
    select(*JOB_COLUMNS)
    .where(
        j.seq < p("before"),
        text("(:status IS NULL OR status = :status)"),
        text("(:submitter IS NULL OR submitter = :submitter)"),
        text("(:interpreter IS NULL OR interpreter = :interpreter)"),
        text("(:failure IS NULL OR failure = :failure)"),
        text("(:node_id IS NULL OR node_id = :node_id)"),
        # Where a text may be: the beginning of an id, anywhere in submitter, labels or code.
        text(
            "(:text IS NULL OR id LIKE :text_start ESCAPE '\\' OR submitter LIKE :text ESCAPE '\\'"
            " OR labels LIKE :text ESCAPE '\\' OR EXISTS (SELECT 1 FROM job_inputs WHERE"
            " job_inputs.seq = job_states.seq AND job_inputs.code LIKE :text ESCAPE '\\'))"
        ),
        text("(:label_path IS NULL OR json_extract(labels, :label_path) = :label_value)"),
    )
    .order_by(j.seq.desc())
    .limit(p("limit"))
)
LIST = compiled(_list)
LIST_OWN = compiled(_list.where(j.owner == p("owner"), j.owner.is_not(None)))
