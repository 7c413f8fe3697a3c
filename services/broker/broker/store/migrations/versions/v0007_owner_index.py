"""An index of each owner's jobs: whoever has few among many finds them without a walk through all."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; jobs without an owner are not in it."""
    where = sa.text("owner IS NOT NULL")
    op.create_index(
        "job_owner", "job_states", ["owner", "seq"], unique=False, sqlite_where=where, postgresql_where=where
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_index("job_owner", table_name="job_states")
