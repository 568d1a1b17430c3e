"""Time series and their values."""

from alembic import op

revision = "0003_series"
down_revision = "0002_assets"


def upgrade() -> None:
    op.execute(
        """
        CREATE SCHEMA series;

        CREATE TABLE series.series (
            series_id uuid PRIMARY KEY,
            organisation_id uuid NOT NULL,
            -- Ids of another service's rows: no foreign key across services.
            site_id uuid NOT NULL,
            asset_id uuid,
            name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 120),
            quantity text NOT NULL CHECK (quantity IN
                ('power_kw', 'energy_kwh', 'price_per_kwh', 'temperature_celsius',
                 'irradiance_w_per_m2')),
            slot_duration_s integer NOT NULL CHECK (slot_duration_s IN
                (60, 300, 600, 900, 1800, 3600)),
            created_time timestamptz NOT NULL DEFAULT clock_timestamp(),
            UNIQUE (site_id, name)
        );
        CREATE INDEX series_by_time ON series.series (site_id, created_time, series_id);

        -- One row a slot, named by its start. No foreign key: checking it row by row doubles the
        -- time of an ingest. Rows are inserted by a SELECT from series.series instead.
        CREATE TABLE series.values (
            organisation_id uuid NOT NULL,
            series_id uuid NOT NULL,
            time timestamptz NOT NULL,
            value double precision NOT NULL
                CHECK (value BETWEEN -1000000000 AND 1000000000),
            PRIMARY KEY (series_id, time)
        );
        """
    )


def downgrade() -> None:
    op.execute("DROP SCHEMA series CASCADE")
