"""Organisations, users, signing keys, the audit record."""

from alembic import op

revision = "0001_identity"
down_revision = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA identity")
    op.execute(
        """
        CREATE TABLE identity.organisation (
            organisation_id uuid PRIMARY KEY,
            name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 120),
            created_time timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    # E-mail addresses are stored in lower case, so that one person has one account.
    op.execute(
        """
        CREATE TABLE identity.user_account (
            user_id uuid PRIMARY KEY,
            organisation_id uuid NOT NULL REFERENCES identity.organisation,
            email text NOT NULL UNIQUE CHECK (email = lower(email) AND length(email) <= 254),
            role text NOT NULL CHECK (role IN ('viewer', 'operator', 'engineer', 'admin')),
            password_hash text NOT NULL,
            created_time timestamptz NOT NULL DEFAULT now(),
            disabled_time timestamptz
        )
        """
    )
    # Each row is an RSA key that signs access tokens and a secret that makes refresh tokens.
    op.execute(
        """
        CREATE TABLE identity.signing_key (
            kid text PRIMARY KEY,
            private_key_pem bytea NOT NULL,
            refresh_secret bytea NOT NULL,
            created_time timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    # Who did what, or tried to. user_id and organisation_id are absent when nobody was recognised.
    op.execute(
        """
        CREATE TABLE identity.audit_entry (
            audit_id uuid PRIMARY KEY,
            recorded_time timestamptz NOT NULL DEFAULT now(),
            action text NOT NULL,
            organisation_id uuid,
            user_id uuid,
            session_id uuid,
            subject text,
            remote_address text,
            trace_id text
        )
        """
    )
    op.execute(
        "CREATE INDEX audit_entry_by_organisation"
        " ON identity.audit_entry (organisation_id, recorded_time DESC)"
    )


def downgrade() -> None:
    op.execute("DROP SCHEMA identity CASCADE")
