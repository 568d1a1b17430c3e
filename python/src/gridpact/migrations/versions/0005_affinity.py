"""Which tasks build on the same model."""

from alembic import op

revision = "0005_affinity"
down_revision = "0004_tasks"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE tasks.payloads
            ADD COLUMN affinity_key text CHECK (char_length(affinity_key) BETWEEN 1 AND 128);
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE tasks.payloads DROP COLUMN affinity_key")
