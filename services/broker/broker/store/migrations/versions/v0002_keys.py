"""Keys, whose job is whose, and what was used."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them."""
    op.add_column("job_states", sa.Column("owner", sa.String(), nullable=True))
    op.add_column("job_states", sa.Column("stored_bytes", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("tombstones", sa.Column("owner", sa.String(), nullable=True))
    op.add_column("nodes", sa.Column("joined_with", sa.String(), nullable=True))
    op.create_index(
        "job_owner",
        "job_states",
        ["owner", "seq"],
        unique=False,
        sqlite_where=sa.text("owner IS NOT NULL"),
        postgresql_where=sa.text("owner IS NOT NULL"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=False),
        sa.Column("old_hash", sa.String(), nullable=True),
        sa.Column("old_until", sa.Float(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.Column("last_used_at", sa.Float(), nullable=True),
        sa.Column("limits", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "usage_days",
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("cpu_seconds", sa.Float(), nullable=False),
        sa.Column("wall_seconds", sa.Float(), nullable=False),
        sa.Column("memory_mb_seconds", sa.Float(), nullable=False),
        sa.Column("bytes_in", sa.Integer(), nullable=False),
        sa.Column("bytes_out", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "owner", "outcome"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("usage_days")
    op.drop_table("api_keys")
    op.drop_index("job_owner", table_name="job_states")
    for table, column in (
        ("nodes", "joined_with"),
        ("tombstones", "owner"),
        ("job_states", "stored_bytes"),
        ("job_states", "owner"),
    ):
        op.drop_column(table, column)
