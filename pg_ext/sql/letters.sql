-- Refused patches.

-- Refused patches, of the tables that the reader may read: they hold values of rows, of which row-level security may
-- hide some. Who knows a session can take it over, so only those are told who may write the table themselves.
CREATE OR REPLACE VIEW cache_sync.dead_letters WITH (security_barrier) AS
    SELECT d.id, a.tbl,
           CASE WHEN pg_catalog.has_table_privilege(a.tbl, 'INSERT, UPDATE, DELETE') THEN d.session END AS session,
           d.seq, d.ord, d.at, d.sqlstate, d.message, d.constraint_name, d.op, d.patch
    FROM cache_sync.dead_letter d JOIN cache_sync.attached a USING (table_id)
    WHERE pg_catalog.has_table_privilege(a.tbl, 'SELECT')
      AND NOT pg_catalog.row_security_active(a.tbl::pg_catalog.oid);
COMMENT ON VIEW cache_sync.dead_letters IS 'Refused patches of the tables that you may SELECT, with the reason.';

-- Applies a refused patch again, in the caller's transaction, with its original stamps, and forgets it if Postgres takes
-- it. Of a row that was written since it was refused the caller is told `conflict`, unless forced; in a plain table, of any row from
-- which it could take something.
CREATE OR REPLACE FUNCTION cache_sync.requeue_dead_letter(
    id bigint, force boolean DEFAULT false, OUT outcome text, OUT version bigint, OUT row_after jsonb)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'requeue_dead_letter';
COMMENT ON FUNCTION cache_sync.requeue_dead_letter IS
    'Applies a refused patch again, and forgets it if Postgres takes it; with force also over what was written since.';

CREATE OR REPLACE FUNCTION cache_sync.discard_dead_letter(id bigint) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'discard_dead_letter';
COMMENT ON FUNCTION cache_sync.discard_dead_letter IS 'Forgets a refused patch; false when there is none of this number.';

