"""Statements about the files of jobs. A job whose result is an identical one's has that one's artifacts."""

from sqlalchemy import bindparam, delete, func, insert, null, select, update

from broker.store.sql.compile import compiled, each, word
from broker.store.tables import job_files, job_results, job_states

f = job_files.c
j = job_states.c
p = bindparam

ARTIFACT = f.kind == word("artifact")
INPUT = f.kind == word("input")

INSERT = compiled(
    insert(job_files).values({name: p(name) for name in ("seq", "kind", "path", "sha256", "size", "mime")})
)
_artifacts = (
    select(f.path, f.sha256, f.size, f.mime)
    .select_from(job_states.join(job_files, f.seq == func.coalesce(j.result_of, j.seq)))
    .where(j.id == p("job_id"), ARTIFACT)
)
ARTIFACTS = compiled(_artifacts.order_by(f.path))
ONE_ARTIFACT = compiled(_artifacts.where(f.path == p("wanted")))
ONE_INPUT = compiled(
    select(f.size)
    .select_from(job_states.join(job_files, f.seq == j.seq))
    .where(j.id == p("job_id"), INPUT, f.sha256 == p("wanted"))
    .limit(1)
)
REFERENCED = compiled(select(f.sha256).where(f.sha256.in_(each("names"))).distinct())
DELETE = compiled(delete(job_files).where(f.seq.in_(each("seqs"))).returning(f.sha256))

SPENT_INPUTS = compiled(
    # The uploads of jobs that have ended: nobody can ask for them any more.
    select(f.seq)
    .select_from(job_files.join(job_states, j.seq == f.seq))
    .where(INPUT, j.completed_at.is_not(None))
    .distinct()
    .limit(p("limit"))
)
DELETE_INPUTS = compiled(delete(job_files).where(f.seq.in_(each("seqs")), INPUT).returning(f.sha256))

OLDEST_ARTIFACTS = compiled(
    select(f.seq, func.sum(f.size))
    .select_from(job_files.join(job_states, j.seq == f.seq))
    .where(ARTIFACT, j.completed_at.is_not(None))
    .group_by(f.seq)
    .order_by(func.min(j.completed_at))
    .limit(p("limit"))
)
DELETE_ARTIFACTS = compiled(delete(job_files).where(f.seq == p("at_seq"), ARTIFACT).returning(f.path, f.size, f.sha256))
NO_ANSWER = compiled(
    # A success without its files answers no identical job any more.
    update(job_states).where(j.seq == p("at_seq")).values(dedupe_key=null())
)
DETAILS = compiled(select(job_results.c.details).where(job_results.c.seq == p("at_seq")))
SET_DETAILS = compiled(update(job_results).where(job_results.c.seq == p("at_seq")).values(details=p("new_details")))
