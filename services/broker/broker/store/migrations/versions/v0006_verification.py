"""Verification: how many results a job needs, how many it has, and what tells equal ones."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COLUMNS = ("replicas", "quorum", "results", "equal")


def upgrade() -> None:
    """Add them."""
    for column in _COLUMNS:
        op.add_column("job_states", sa.Column(column, sa.Integer(), nullable=True))
    op.add_column("attempts", sa.Column("result_digest", sa.String(), nullable=True))


def downgrade() -> None:
    """Remove them."""
    op.drop_column("attempts", "result_digest")
    for column in reversed(_COLUMNS):
        op.drop_column("job_states", column)
