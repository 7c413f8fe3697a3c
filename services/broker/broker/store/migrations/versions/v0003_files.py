"""Files of jobs, output that is no text, and the words in which a job's submitter is answered."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them."""
    op.add_column("job_states", sa.Column("dialect", sa.String(), nullable=True))
    op.add_column("job_states", sa.Column("file_count", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("job_results", sa.Column("output_binary", sa.LargeBinary(), nullable=True))
    op.add_column("job_results", sa.Column("error_binary", sa.LargeBinary(), nullable=True))
    op.create_table(
        "job_files",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("mime", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("seq", "kind", "path"),
        sqlite_with_rowid=False,
    )
    op.create_index("job_file_content", "job_files", ["sha256"], unique=False)
    op.create_index(
        "job_file_inputs",
        "job_files",
        ["seq"],
        unique=False,
        sqlite_where=sa.text("kind = 'input'"),
        postgresql_where=sa.text("kind = 'input'"),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("job_files")
    for table, column in (
        ("job_results", "error_binary"),
        ("job_results", "output_binary"),
        ("job_states", "file_count"),
        ("job_states", "dialect"),
    ):
        op.drop_column(table, column)
