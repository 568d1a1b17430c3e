"""Sites and assets."""

from alembic import op

revision = "0002_assets"
down_revision = "0001_identity"


def upgrade() -> None:
    op.execute(
        """
        CREATE SCHEMA assets;

        CREATE TABLE assets.sites (
            site_id uuid PRIMARY KEY,
            organisation_id uuid NOT NULL,
            name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 120),
            time_zone text NOT NULL CHECK (char_length(time_zone) BETWEEN 1 AND 64),
            currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
            latitude double precision CHECK (latitude BETWEEN -90 AND 90),
            longitude double precision CHECK (longitude BETWEEN -180 AND 180),
            max_import_power_kw double precision CHECK (max_import_power_kw BETWEEN 0 AND 1000000),
            max_export_power_kw double precision CHECK (max_export_power_kw BETWEEN 0 AND 1000000),
            created_time timestamptz NOT NULL DEFAULT clock_timestamp(),
            UNIQUE (organisation_id, name),
            -- What assets.assets refers to: an asset belongs to the organisation of its site.
            UNIQUE (organisation_id, site_id)
        );

        CREATE INDEX sites_by_time ON assets.sites (organisation_id, created_time, site_id);

        CREATE TABLE assets.assets (
            asset_id uuid PRIMARY KEY,
            organisation_id uuid NOT NULL,
            site_id uuid NOT NULL,
            name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 120),
            type text NOT NULL CHECK (type IN ('battery', 'pv', 'load', 'tariff')),
            specification jsonb NOT NULL CHECK (jsonb_typeof(specification) = 'object'),
            created_time timestamptz NOT NULL DEFAULT clock_timestamp(),
            UNIQUE (site_id, name),
            FOREIGN KEY (organisation_id, site_id)
                REFERENCES assets.sites (organisation_id, site_id)
        );
        CREATE INDEX assets_by_time ON assets.assets (site_id, created_time, asset_id);
        """
    )


def downgrade() -> None:
    op.execute("DROP SCHEMA assets CASCADE")
