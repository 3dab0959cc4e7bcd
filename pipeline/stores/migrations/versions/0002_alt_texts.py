"""Alt texts say which photo they are about, and are found by the state of their review."""

from alembic import op
from sqlalchemy import inspect

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column and the index, both at once."""
    columns = {column["name"] for column in inspect(op.get_bind()).get_columns("alttags")}
    if "generation" not in columns:
        op.execute(
            """
            ALTER TABLE alttags
                ADD COLUMN generation BIGINT NOT NULL DEFAULT 0,
                ADD KEY alttags_to_review (review_state, source, docid, product_id)
            """
        )
