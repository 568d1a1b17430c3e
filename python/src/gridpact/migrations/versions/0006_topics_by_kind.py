"""Every kind of task has a topic of its own: what the sweeper looks for, topic by topic."""

from alembic import op

revision = "0006_topics_by_kind"
down_revision = "0005_affinity"


def upgrade() -> None:
    op.execute(
        """
        DROP INDEX tasks.tasks_queued, tasks.tasks_delivered;
        CREATE INDEX tasks_queued ON tasks.tasks (engine_choice, kind, queued_time)
            WHERE state = 'QUEUED';
        CREATE INDEX tasks_delivered ON tasks.tasks (engine_choice, kind, queued_time)
            WHERE attempt_count > 0;
        """
    )


def downgrade() -> None:
    op.execute(
        """
        DROP INDEX tasks.tasks_queued, tasks.tasks_delivered;
        CREATE INDEX tasks_queued ON tasks.tasks (engine_choice, queued_time)
            WHERE state = 'QUEUED';
        CREATE INDEX tasks_delivered ON tasks.tasks (engine_choice, queued_time)
            WHERE attempt_count > 0;
        """
    )
