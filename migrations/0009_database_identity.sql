-- Which database this is, so that one that was restored, copied or promoted is noticed: what was paid since the backup is unknown in it.

-- The oid of the table below counts too: a dump that is restored over the same database makes the table anew.
CREATE TABLE database_identity (
    only_row          boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    system_identifier bigint      NOT NULL,
    timeline          bigint      NOT NULL,
    database_oid      bigint      NOT NULL,
    table_oid         bigint      NOT NULL,
    accepted_at       timestamptz NOT NULL DEFAULT now()
);

-- The timeline is that of the WAL being written: the control file names the new one only after the first checkpoint behind a promotion.
CREATE VIEW present_database AS
SELECT system_identifier,
       ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint AS timeline,
       (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database_oid,
       'database_identity'::regclass::oid::bigint AS table_oid
  FROM pg_control_system();

INSERT INTO database_identity (system_identifier, timeline, database_oid, table_oid)
SELECT system_identifier, timeline, database_oid, table_oid FROM present_database;
