"""Impressions and clicks."""

from alembic import op

from pipeline.stores.migrations import collation

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    op.execute(
        f"""
        CREATE TABLE IF NOT EXISTS events (
            event_id VARCHAR(64) NOT NULL,
            kind VARCHAR(16) NOT NULL,
            docid VARCHAR(64) NOT NULL,
            product_id BIGINT NOT NULL,
            position INT NOT NULL,
            slot VARCHAR(16) NOT NULL,
            source VARCHAR(16) NOT NULL,
            query VARCHAR(200) NOT NULL,
            category VARCHAR(200) NOT NULL,
            occurred_at DOUBLE NOT NULL,
            recorded_at DOUBLE NOT NULL,
            PRIMARY KEY (event_id),
            KEY events_by_time (occurred_at),
            KEY events_of_business (docid, occurred_at),
            KEY events_as_recorded (recorded_at)
        )
        ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE {collation(op.get_bind())}
        """
    )
