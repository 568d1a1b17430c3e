"""Attempts that do not count, and tasks that compute the input of a failed one once more."""

from alembic import op

revision = "0007_dead_letters"
down_revision = "0006_topics_by_kind"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE tasks.tasks
            ADD COLUMN excused_count integer NOT NULL DEFAULT 0
                CHECK (excused_count BETWEEN 0 AND attempt_count),
            ADD COLUMN replay_of uuid REFERENCES tasks.tasks;
        -- A task is replayed once.
        CREATE UNIQUE INDEX tasks_replay_of ON tasks.tasks (replay_of)
            WHERE replay_of IS NOT NULL;
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE tasks.tasks DROP COLUMN excused_count, DROP COLUMN replay_of")
