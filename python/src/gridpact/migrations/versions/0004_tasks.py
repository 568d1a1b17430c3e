"""Compute tasks: their state, payloads, results, the outbox."""

from alembic import op

revision = "0004_tasks"
down_revision = "0003_series"


def upgrade() -> None:
    op.execute(
        """
        CREATE SCHEMA tasks;

        CREATE TABLE tasks.tasks (
            task_id uuid PRIMARY KEY,
            organisation_id uuid NOT NULL,
            kind text NOT NULL CHECK (char_length(kind) BETWEEN 1 AND 64),
            engine_choice text NOT NULL CHECK (engine_choice IN ('auto', 'julia', 'python')),
            site_id uuid,
            label text CHECK (char_length(label) BETWEEN 1 AND 120),
            submitted_time timestamptz NOT NULL,
            timeout_time timestamptz NOT NULL CHECK (timeout_time > submitted_time),
            state text NOT NULL CHECK
                (state IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')),
            -- When its message was last put into the outbox, and how often that was.
            queued_time timestamptz NOT NULL,
            publish_count integer NOT NULL CHECK (publish_count >= 1),
            -- The number of the newest attempt is its fencing token.
            attempt_count integer NOT NULL DEFAULT 0 CHECK (attempt_count BETWEEN 0 AND 1000),
            lease_end_time timestamptz,
            bridge_id text,
            cancel_requested boolean NOT NULL DEFAULT false,
            progress jsonb,
            started_time timestamptz,
            finished_time timestamptz,
            engine text CHECK (engine IN ('julia', 'python')),
            engine_version text CHECK (char_length(engine_version) <= 64),
            solve_ms double precision CHECK (solve_ms >= 0),
            failure jsonb,
            -- SHA-256 of how the newest attempt ended; null while it has not.
            outcome_digest text CHECK (char_length(outcome_digest) = 64),
            CHECK ((state = 'RUNNING') = (lease_end_time IS NOT NULL)),
            CHECK ((state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')) = (finished_time IS NOT NULL)),
            CHECK ((state IN ('FAILED', 'CANCELLED')) = (failure IS NOT NULL)),
            CHECK ((attempt_count > 0) = (started_time IS NOT NULL))
        );
        CREATE INDEX tasks_by_time ON tasks.tasks (organisation_id, submitted_time, task_id);
        -- What the sweeper looks for.
        CREATE INDEX tasks_to_time_out ON tasks.tasks (timeout_time)
            WHERE state IN ('QUEUED', 'RUNNING');
        CREATE INDEX tasks_leased ON tasks.tasks (lease_end_time) WHERE state = 'RUNNING';
        CREATE INDEX tasks_queued ON tasks.tasks (engine_choice, queued_time)
            WHERE state = 'QUEUED';
        CREATE INDEX tasks_delivered ON tasks.tasks (engine_choice, queued_time)
            WHERE attempt_count > 0;

        CREATE FUNCTION tasks.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'task % is %, attempt %: it cannot become %, attempt %',
                OLD.task_id, OLD.state, OLD.attempt_count, NEW.state, NEW.attempt_count
                USING ERRCODE = 'integrity_constraint_violation';
        END $$;
        CREATE TRIGGER terminal_state_is_final BEFORE UPDATE ON tasks.tasks FOR EACH ROW
            WHEN (OLD.state IN ('SUCCEEDED', 'FAILED', 'CANCELLED'))
            EXECUTE FUNCTION tasks.refuse_change();
        CREATE TRIGGER fencing_token_grows BEFORE UPDATE ON tasks.tasks FOR EACH ROW
            WHEN (NEW.attempt_count < OLD.attempt_count)
            EXECUTE FUNCTION tasks.refuse_change();

        -- The input, as the worker gets it. Never compressed a second time.
        CREATE TABLE tasks.payloads (
            task_id uuid PRIMARY KEY REFERENCES tasks.tasks,
            organisation_id uuid NOT NULL,
            encoding text NOT NULL CHECK (encoding IN ('identity', 'zstd')),
            body bytea STORAGE EXTERNAL NOT NULL
        );

        -- The one accepted result of a task that SUCCEEDED, as the worker sent it.
        CREATE TABLE tasks.results (
            task_id uuid PRIMARY KEY REFERENCES tasks.tasks,
            organisation_id uuid NOT NULL,
            encoding text NOT NULL CHECK (encoding IN ('identity', 'zstd')),
            body bytea STORAGE EXTERNAL NOT NULL
        );

        CREATE TABLE tasks.idempotency_keys (
            organisation_id uuid NOT NULL,
            idempotency_key text NOT NULL CHECK (char_length(idempotency_key) BETWEEN 1 AND 128),
            task_id uuid NOT NULL REFERENCES tasks.tasks,
            -- SHA-256 of the request.
            fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
            created_time timestamptz NOT NULL,
            PRIMARY KEY (organisation_id, idempotency_key)
        );
        CREATE INDEX idempotency_keys_to_expire ON tasks.idempotency_keys (created_time);

        -- Messages to publish; the relay deletes a row once the broker has it. A null body means
        -- the body of tasks.payloads whose task_id is the key.
        CREATE TABLE tasks.outbox (
            outbox_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            organisation_id uuid NOT NULL,
            topic text NOT NULL,
            key text NOT NULL,
            properties jsonb NOT NULL CHECK (jsonb_typeof(properties) = 'object'),
            body bytea,
            created_time timestamptz NOT NULL DEFAULT clock_timestamp()
        );

        CREATE FUNCTION tasks.notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('tasks_outbox', '');
            RETURN NULL;
        END $$;
        CREATE TRIGGER outbox_wakes_relay AFTER INSERT ON tasks.outbox FOR EACH STATEMENT
            EXECUTE FUNCTION tasks.notify_outbox();
        """
    )


def downgrade() -> None:
    op.execute("DROP SCHEMA tasks CASCADE")
