"""What happened to nodes, which attempts a node had, and the id of the request that submitted a job."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them."""
    op.create_table(
        "node_events",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("node_id", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("session_number", sa.Integer(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("whose", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("node_event", "node_events", ["node_id", "seq"], unique=False)
    op.create_index("attempt_node", "attempts", ["node_id", "claimed_at"], unique=False)
    op.add_column("job_inputs", sa.Column("request_id", sa.String(), nullable=True))


def downgrade() -> None:
    """Remove them."""
    op.drop_column("job_inputs", "request_id")
    op.drop_index("attempt_node", table_name="attempts")
    op.drop_table("node_events")
