"""The first schema: jobs with their inputs, results and attempts, nodes, and what has to be remembered about them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JOBS_VIEW = """
CREATE VIEW jobs AS
SELECT s.id, i.code, s.interpreter, s.status, s.node_id, r.output, r.error, s.exit_code, s.failure,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.created_at, 'unixepoch') AS created_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.started_at, 'unixepoch') AS started_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.completed_at, 'unixepoch') AS completed_at,
       s.submitter, s.labels, s.priority, s.timeout, s.attempt, s.fence
FROM job_states s
JOIN job_inputs i ON i.seq = s.seq
LEFT JOIN job_results r ON r.seq = COALESCE(s.result_of, s.seq)
"""


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "attempts",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("session_number", sa.Integer(), nullable=False),
        sa.Column("claimed_at", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("wall_seconds", sa.Float(), nullable=True),
        sa.Column("cpu_seconds", sa.Float(), nullable=True),
        sa.Column("memory_peak_bytes", sa.Integer(), nullable=True),
        sa.Column("output_digest", sa.String(), nullable=True),
        sa.Column("message", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("seq", "fence"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "broker_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("clock", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("body_hash", sa.String(), nullable=False),
        sa.Column("job_ids", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_index("idempotency_age", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "job_inputs",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("spec", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "job_results",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("output", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("details", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "job_states",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("interpreter", sa.String(), nullable=False),
        sa.Column("class_key", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Float(), nullable=False),
        sa.Column("submitter", sa.String(), nullable=True),
        sa.Column("labels", sa.String(), nullable=True),
        sa.Column("timeout", sa.Float(), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=False),
        sa.Column("retry_on", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("run_at", sa.Float(), nullable=True),
        sa.Column("give_up_at", sa.Float(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("reruns", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=True),
        sa.Column("claim_number", sa.Integer(), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("deadline_at", sa.Float(), nullable=True),
        sa.Column("cancel_requested_at", sa.Float(), nullable=True),
        sa.Column("dedupe_key", sa.String(), nullable=True),
        sa.Column("follows", sa.Integer(), nullable=True),
        sa.Column("result_of", sa.Integer(), nullable=True),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("completed_at", sa.Float(), nullable=True),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.CheckConstraint("(status = 'failed') = (failure IS NOT NULL)", name="failed_has_failure"),
        sa.CheckConstraint("(status IN ('assigned', 'running')) = (deadline_at IS NOT NULL)", name="held_has_deadline"),
        sa.CheckConstraint("(status IN ('completed', 'failed')) = (completed_at IS NOT NULL)", name="ended_has_time"),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "job_cancel",
        "job_states",
        ["cancel_requested_at"],
        unique=False,
        sqlite_where=sa.text("cancel_requested_at IS NOT NULL AND deadline_at IS NOT NULL"),
        postgresql_where=sa.text("cancel_requested_at IS NOT NULL AND deadline_at IS NOT NULL"),
    )
    op.create_index(
        "job_dedupe",
        "job_states",
        ["dedupe_key"],
        unique=False,
        sqlite_where=sa.text("dedupe_key IS NOT NULL"),
        postgresql_where=sa.text("dedupe_key IS NOT NULL"),
    )
    op.create_index(
        "job_due",
        "job_states",
        ["run_at"],
        unique=False,
        sqlite_where=sa.text("status = 'pending' AND run_at IS NOT NULL"),
        postgresql_where=sa.text("status = 'pending' AND run_at IS NOT NULL"),
    )
    op.create_index(
        "job_expiry",
        "job_states",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index(
        "job_followers",
        "job_states",
        ["follows"],
        unique=False,
        sqlite_where=sa.text("follows IS NOT NULL"),
        postgresql_where=sa.text("follows IS NOT NULL"),
    )
    op.create_index(
        "job_give_up",
        "job_states",
        ["give_up_at"],
        unique=False,
        sqlite_where=sa.text("status = 'pending' AND give_up_at IS NOT NULL"),
        postgresql_where=sa.text("status = 'pending' AND give_up_at IS NOT NULL"),
    )
    op.create_index(
        "job_held",
        "job_states",
        ["node_id"],
        unique=False,
        sqlite_where=sa.text("deadline_at IS NOT NULL"),
        postgresql_where=sa.text("deadline_at IS NOT NULL"),
    )
    op.create_index(
        "job_overdue",
        "job_states",
        ["deadline_at"],
        unique=False,
        sqlite_where=sa.text("deadline_at IS NOT NULL"),
        postgresql_where=sa.text("deadline_at IS NOT NULL"),
    )
    op.create_index(
        "job_ready",
        "job_states",
        ["class_key", "rank", "seq"],
        unique=False,
        sqlite_where=sa.text("status = 'pending' AND run_at IS NULL"),
        postgresql_where=sa.text("status = 'pending' AND run_at IS NULL"),
    )
    op.create_index(
        "job_single_flight",
        "job_states",
        ["dedupe_key"],
        unique=True,
        sqlite_where=sa.text("dedupe_key IS NOT NULL AND follows IS NULL AND completed_at IS NULL"),
        postgresql_where=sa.text("dedupe_key IS NOT NULL AND follows IS NULL AND completed_at IS NULL"),
    )
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=False),
        sa.Column("session_hash", sa.String(), nullable=False),
        sa.Column("session_number", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("capabilities", sa.String(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("version", sa.String(), nullable=True),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("registered_at", sa.Float(), nullable=False),
        sa.Column("last_heartbeat", sa.Float(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("jobs_completed", sa.Integer(), nullable=False),
        sa.Column("jobs_failed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "tombstones",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("deleted_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index("tombstone_age", "tombstones", ["deleted_at"], unique=False)
    op.execute(JOBS_VIEW)


def downgrade() -> None:
    """Remove everything."""
    op.execute("DROP VIEW jobs")
    for table in (
        "attempts",
        "broker_state",
        "idempotency_keys",
        "job_inputs",
        "job_results",
        "job_states",
        "nodes",
        "tombstones",
    ):
        op.drop_table(table)
