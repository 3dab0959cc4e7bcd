"""Keys of the web applications."""

from alembic import op

from pipeline.stores.migrations import collation

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table."""
    op.execute(
        f"""
        CREATE TABLE IF NOT EXISTS api_keys (
            key_id VARCHAR(16) NOT NULL,
            name VARCHAR(191) NOT NULL,
            digest VARCHAR(64) NOT NULL,
            scopes VARCHAR(64) NOT NULL,
            created_at DOUBLE NOT NULL,
            revoked_at DOUBLE NULL,
            PRIMARY KEY (key_id)
        )
        ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE {collation(op.get_bind())}
        """
    )
