"""Nobody waits for new rows of the outbox: whoever commits a message publishes it."""

from alembic import op

revision = "0008_outbox_is_scanned"
down_revision = "0007_dead_letters"


def upgrade() -> None:
    op.execute(
        """
        DROP TRIGGER outbox_wakes_relay ON tasks.outbox;
        DROP FUNCTION tasks.notify_outbox();
        """
    )


def downgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION tasks.notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('tasks_outbox', '');
            RETURN NULL;
        END $$;
        CREATE TRIGGER outbox_wakes_relay AFTER INSERT ON tasks.outbox FOR EACH STATEMENT
            EXECUTE FUNCTION tasks.notify_outbox();
        """
    )
