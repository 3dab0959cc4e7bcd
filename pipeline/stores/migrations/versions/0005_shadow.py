"""What challengers answered in the champion's shadow."""

from alembic import op

from pipeline.stores.migrations import collation

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.execute(
        f"""
        CREATE TABLE IF NOT EXISTS shadow (
            comparison_id VARCHAR(32) NOT NULL,
            champion VARCHAR(128) NOT NULL,
            challenger VARCHAR(128) NOT NULL,
            question VARCHAR(32) NOT NULL,
            query VARCHAR(200) NOT NULL,
            champion_seconds DOUBLE NOT NULL,
            challenger_seconds DOUBLE NOT NULL,
            businesses INT NOT NULL,
            same_top INT NOT NULL,
            overlap DOUBLE NOT NULL,
            champion_scores TEXT NOT NULL,
            challenger_scores TEXT NOT NULL,
            error VARCHAR(64) NOT NULL,
            is_replay BOOL NOT NULL,
            recorded_at DOUBLE NOT NULL,
            PRIMARY KEY (comparison_id),
            KEY shadow_of_challenger (challenger, recorded_at),
            KEY shadow_by_time (recorded_at)
        )
        ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE {collation(op.get_bind())}
        """
    )
