"""Organisations, users, signing keys, the audit record."""

from alembic import op

revision = "0001_identity"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE SCHEMA identity;

        CREATE TABLE identity.organisations (
            organisation_id uuid PRIMARY KEY,
            name text NOT NULL UNIQUE CHECK (char_length(name) BETWEEN 1 AND 120),
            created_time timestamptz NOT NULL DEFAULT clock_timestamp()
        );

        -- E-mail addresses are stored in lower case, so that one person has one account.
        CREATE TABLE identity.users (
            user_id uuid PRIMARY KEY,
            organisation_id uuid NOT NULL REFERENCES identity.organisations,
            email text NOT NULL UNIQUE
                CHECK (email = lower(email) AND char_length(email) BETWEEN 3 AND 254),
            role text NOT NULL CHECK (role IN ('viewer', 'operator', 'engineer', 'admin')),
            password_hash text NOT NULL,
            created_time timestamptz NOT NULL DEFAULT clock_timestamp(),
            disabled_time timestamptz
        );

        -- An RSA key that signs access tokens, and the secret that seals refresh tokens.
        CREATE TABLE identity.signing_keys (
            kid text PRIMARY KEY,
            private_key_pem bytea NOT NULL,
            refresh_secret bytea NOT NULL,
            created_time timestamptz NOT NULL DEFAULT clock_timestamp()
        );

        -- Who did what, or tried to. Nobody may have been recognised: then only the subject (what
        -- the caller said they are) is known.
        CREATE TABLE identity.audit_entries (
            audit_id uuid PRIMARY KEY,
            recorded_time timestamptz NOT NULL DEFAULT clock_timestamp(),
            action text NOT NULL,
            organisation_id uuid,
            user_id uuid,
            session_id uuid,
            subject text,
            remote_address text,
            trace_id text
        );
        CREATE INDEX audit_entries_by_time
            ON identity.audit_entries (organisation_id, recorded_time);
        """
    )


def downgrade() -> None:
    op.execute("DROP SCHEMA identity CASCADE")
