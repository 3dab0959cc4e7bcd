"""Queries as they were typed."""

from alembic import op

from pipeline.stores.migrations import collation

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table."""
    op.execute(
        f"""
        CREATE TABLE IF NOT EXISTS queries (
            query_id VARCHAR(64) NOT NULL,
            query VARCHAR(200) NOT NULL,
            category VARCHAR(200) NOT NULL,
            how VARCHAR(16) NOT NULL,
            confidence DOUBLE NOT NULL,
            visitor VARCHAR(16) NOT NULL,
            asked_at DOUBLE NOT NULL,
            recorded_at DOUBLE NOT NULL,
            PRIMARY KEY (query_id),
            KEY queries_as_recorded (recorded_at)
        )
        ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE {collation(op.get_bind())}
        """
    )
