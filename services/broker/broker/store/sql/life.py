"""The transitions of a job. Each names in its WHERE the state and the fence that it may act on, so that it either
happens to exactly the attempt that was meant, or not at all."""

from sqlalchemy import ColumnElement, ScalarSelect, and_, bindparam, func, insert, null, select, update

from broker.store.sql.compile import compiled, each, word
from broker.store.tables import NEVER, attempts, job_inputs, job_results, job_states, nodes

j = job_states.c
a = attempts.c
p = bindparam

PENDING = j.status == word("pending")
CLAIMABLE = and_(PENDING, j.run_at.is_(None))
HELD = j.deadline_at.is_not(None)
WHOSE = func.coalesce(j.owner, j.submitter)
"""Who gets the fair share: with keys the owner, whatever a client calls its submitters."""

# ---- submit

INSERT_JOB = compiled(
    insert(job_states).values(
        {
            column: p(column)
            for column in (
                "id",
                "status",
                "interpreter",
                "class_key",
                "priority",
                "rank",
                "submitter",
                "owner",
                "stored_bytes",
                "labels",
                "timeout",
                "max_retries",
                "retry_on",
                "created_at",
                "run_at",
                "give_up_at",
                "dedupe_key",
                "follows",
                "result_of",
                "exit_code",
                "completed_at",
                "expires_at",
                "dialect",
                "file_count",
                "replicas",
                "quorum",
                "results",
                "equal",
            )
        }
        | {"attempt": 0, "losses": 0, "reruns": 0, "fence": 0}
    )
)
INSERT_INPUT = compiled(
    insert(job_inputs).values(seq=p("seq"), code=p("code"), spec=p("spec"), request_id=p("request_id"))
)

CACHED_SUCCESS = compiled(
    # The newest success of an identical job that is not itself a copy.
    select(j.seq, j.exit_code, j.expires_at, j.file_count, j.results, j.equal)
    .where(
        j.dedupe_key == p("dedupe_key"),
        j.dedupe_key.is_not(None),
        j.status == word("completed"),
        j.result_of.is_(None),
        j.expires_at > p("now"),
    )
    .order_by(j.seq.desc())
    .limit(1)
)
RUNNING_TWIN = compiled(
    # The unfinished job whose end identical jobs wait for.
    select(j.seq).where(
        j.dedupe_key == p("dedupe_key"),
        j.dedupe_key.is_not(None),
        j.follows.is_(None),
        j.completed_at.is_(None),
    )
)

# ---- claim

READY_HEADS = compiled(
    select(j.seq, j.rank).where(CLAIMABLE, j.class_key == p("class_key")).order_by(j.rank, j.seq).limit(p("limit"))
)
COUNT_HELD = compiled(select(func.count()).select_from(job_states).where(j.node_id == p("node_id"), HELD))
PRESENT_SESSION = compiled(select(nodes.c.session_number).where(nodes.c.id == p("node_id")))
ASSIGN = compiled(
    update(job_states)
    .where(j.seq.in_(each("seqs")), CLAIMABLE)
    .values(
        status=word("assigned"),
        fence=func.max(j.fence + 1, p("fence_floor")),
        attempt=j.attempt + 1,
        node_id=p("node"),
        claim_number=p("number"),
        deadline_at=p("now") + j.timeout + p("slack"),
    )
    .returning(
        j.seq,
        j.id,
        j.interpreter,
        j.timeout,
        j.attempt,
        j.fence,
        j.class_key,
        j.rank,
        j.priority,
        WHOSE,
        j.created_at,
        j.owner,
    )
)
OPEN_ATTEMPTS = compiled(
    insert(attempts).from_select(
        ["seq", "fence", "number", "node_id", "session_number", "claimed_at"],
        select(j.seq, j.fence, j.attempt, j.node_id, nodes.c.session_number, p("now"))
        .select_from(job_states.join(nodes, nodes.c.id == j.node_id))
        .where(j.seq.in_(each("seqs"))),
    )
)
INPUTS = compiled(
    select(job_inputs.c.seq, job_inputs.c.code, job_inputs.c.spec, job_inputs.c.request_id).where(
        job_inputs.c.seq.in_(each("seqs"))
    )
)
INPUT_SIZES = compiled(
    select(
        job_inputs.c.seq, func.length(job_inputs.c.code) + func.length(func.coalesce(job_inputs.c.spec, word("")))
    ).where(job_inputs.c.seq.in_(each("seqs")))
)
GRANTED_BEFORE = compiled(
    # What the same claim number got; the index on the node keeps this to what the node holds.
    select(j.seq, j.id, j.interpreter, j.timeout, j.attempt, j.fence).where(
        j.node_id == p("node_id"), HELD, j.claim_number == p("number")
    )
)

# ---- while a node holds it

START = compiled(
    update(job_states)
    .where(j.id == p("job_id"), j.fence == p("at_fence"), j.node_id == p("node"), j.status == word("assigned"))
    .values(status=word("running"), started_at=p("now"), deadline_at=p("now") + j.timeout + p("grace"))
    .returning(j.seq, j.class_key, j.priority, j.owner, WHOSE, j.attempt)
)
START_ATTEMPT = compiled(
    update(attempts).where(a.seq == p("at_seq"), a.fence == p("at_fence")).values(started_at=p("started"))
)
REQUEST_CANCEL = compiled(
    update(job_states)
    .where(j.seq == p("at_seq"), j.fence == p("at_fence"), HELD)
    .values(cancel_requested_at=func.coalesce(j.cancel_requested_at, p("now")))
)

# ---- the end of an attempt

_COLUMNS_TO_JUDGE = (
    j.seq,
    j.id,
    j.status,
    j.fence,
    j.node_id,
    j.class_key,
    j.losses,
    j.reruns,
    j.max_retries,
    j.retry_on,
    j.cancel_requested_at,
    j.dedupe_key,
    j.failure,
    j.deadline_at,
    j.follows,
    WHOSE,
    j.priority,
    j.rank,
    j.created_at,
    j.owner,
    j.attempt,
    j.replicas,
    j.quorum,
)
_judge = select(*_COLUMNS_TO_JUDGE)
JUDGE_ONE = compiled(_judge.where(j.id == p("job_id")))
JUDGE_HELD_BY = compiled(_judge.where(j.node_id == p("node_id"), HELD))
JUDGE_OVERDUE = compiled(_judge.where(HELD, j.deadline_at <= p("now")).order_by(j.deadline_at).limit(p("limit")))
JUDGE_CANCELLED = compiled(
    _judge.where(j.cancel_requested_at.is_not(None), HELD, j.cancel_requested_at <= p("before")).limit(p("limit"))
)
JUDGE_GIVEN_UP = compiled(
    _judge.where(PENDING, j.give_up_at.is_not(None), j.give_up_at <= p("now")).order_by(j.give_up_at).limit(p("limit"))
)
JUDGE_CLASS = compiled(
    _judge.where(CLAIMABLE, j.class_key == p("class_key"), j.created_at <= p("before")).limit(p("limit"))
)

END_HELD = compiled(
    update(job_states)
    .where(j.seq == p("at_seq"), j.fence == p("at_fence"), HELD)
    .values(
        status=p("new_status"),
        failure=p("new_failure"),
        exit_code=p("code"),
        file_count=p("files"),
        attempt=j.attempt - p("given_back"),
        losses=p("new_losses"),
        reruns=p("new_reruns"),
        completed_at=p("now"),
        expires_at=p("expires"),
        deadline_at=null(),
        stored_bytes=j.stored_bytes + p("result_bytes"),
    )
)
END_PENDING = compiled(
    update(job_states)
    .where(j.seq == p("at_seq"), PENDING)
    .values(
        status=word("failed"),
        failure=p("new_failure"),
        completed_at=p("now"),
        expires_at=p("expires"),
        run_at=null(),
        follows=null(),
    )
)
REQUEUE = compiled(
    update(job_states)
    .where(j.seq == p("at_seq"), j.fence == p("at_fence"), HELD)
    .values(
        status=word("pending"),
        run_at=p("new_run_at"),
        attempt=j.attempt - p("given_back"),
        losses=p("new_losses"),
        reruns=p("new_reruns"),
        node_id=null(),
        claim_number=null(),
        started_at=null(),
        deadline_at=null(),
    )
)
CLOSE_ATTEMPT = compiled(
    update(attempts)
    .where(a.seq == p("at_seq"), a.fence == p("at_fence"), a.ended_at.is_(None))
    .values(
        ended_at=p("now"),
        outcome=p("new_outcome"),
        failure=p("new_failure"),
        exit_code=p("code"),
        wall_seconds=p("wall"),
        cpu_seconds=p("cpu"),
        memory_peak_bytes=p("memory"),
        output_digest=p("digest"),
        message=p("note"),
    )
)
ATTEMPT_ENDED = compiled(select(a.outcome).where(a.seq == p("seq"), a.fence == p("fence"), a.node_id == p("node_id")))
INSERT_RESULT = compiled(
    insert(job_results).values(
        seq=p("seq"),
        output=p("output"),
        error=p("error"),
        details=p("details"),
        output_binary=p("output_binary"),
        error_binary=p("error_binary"),
    )
)
COUNT_FOR_NODE = compiled(
    update(nodes)
    .where(nodes.c.id == p("node_id"))
    .values(
        jobs_completed=nodes.c.jobs_completed + p("completed"),
        jobs_failed=nodes.c.jobs_failed + p("failed"),
    )
)

# ---- verified jobs

SET_DIGEST = compiled(
    update(attempts).where(a.seq == p("at_seq"), a.fence == p("at_fence")).values(result_digest=p("digest"))
)
DIGESTS = compiled(
    select(a.node_id, a.result_digest).where(a.seq == p("seq"), a.result_digest.is_not(None)).order_by(a.fence)
)
SET_STANDING = compiled(
    update(job_states)
    .where(j.seq == p("at_seq"), j.fence == p("at_fence"), HELD)
    .values(results=p("new_results"), equal=p("new_equal"), class_key=p("new_class"))
)

# ---- identical jobs

leader = job_states.alias("leader")


def _of_leader(column: ColumnElement[int]) -> ScalarSelect[int]:
    return select(column).where(leader.c.seq == p("leader")).scalar_subquery()


FOLLOWERS = compiled(
    select(j.seq, j.id, WHOSE, j.priority, j.created_at, j.owner)
    .where(j.follows == p("leader"), PENDING)
    .order_by(j.seq)
)
COPY_SUCCESS = compiled(
    update(job_states)
    .where(j.follows == p("leader"), PENDING)
    .values(
        status=word("completed"),
        exit_code=p("code"),
        file_count=p("files"),
        completed_at=p("now"),
        expires_at=p("expires"),
        result_of=p("leader"),
        results=_of_leader(leader.c.results),
        equal=_of_leader(leader.c.equal),
        follows=null(),
        run_at=null(),
    )
)
PROMOTE_FOLLOWER = compiled(
    update(job_states)
    .where(j.seq == p("at_seq"), PENDING)
    .values(follows=null(), run_at=null())
    .returning(j.class_key, j.rank)
)
FOLLOW_ANOTHER = compiled(
    update(job_states).where(j.follows == p("leader"), PENDING).values(follows=p("new_leader"), run_at=NEVER)
)
