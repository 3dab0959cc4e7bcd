"""Categories, the vocabulary, alt texts, and the versions by which readers see changes."""

from alembic import op

from pipeline.stores.migrations import collation

revision = "0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS categories (
        docid VARCHAR(64) NOT NULL,
        catid BIGINT NOT NULL,
        name VARCHAR(191) NOT NULL,
        is_hot BOOL NOT NULL,
        PRIMARY KEY (docid, catid),
        KEY categories_by_name (name)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS vocabulary (
        name VARCHAR(191) NOT NULL,
        PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS alttags (
        docid VARCHAR(64) NOT NULL,
        product_id BIGINT NOT NULL,
        alttag TEXT NOT NULL,
        score DOUBLE NOT NULL,
        review_state VARCHAR(32) NOT NULL,
        updated_at DOUBLE NOT NULL,
        source VARCHAR(32) NOT NULL,
        PRIMARY KEY (docid, product_id)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS versions (
        name VARCHAR(64) NOT NULL,
        number BIGINT NOT NULL,
        PRIMARY KEY (name)
    )
    """,
)


def upgrade() -> None:
    """Make the tables."""
    by = collation(op.get_bind())
    for table in TABLES:
        op.execute(f"{table} ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE {by}")
