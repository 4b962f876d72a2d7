-- What people look at.

CREATE OR REPLACE FUNCTION cache_sync_internal.listeners_now()
    RETURNS TABLE (pid integer, database oid, feed_position bigint, lag bigint, armed boolean, delivered bigint, gaps bigint,
                   age_micros bigint)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'listeners_now';

-- `armed`: it has read everything and waits to be woken.
CREATE OR REPLACE VIEW cache_sync.listeners WITH (security_barrier) AS
    SELECT l.pid, d.datname AS database, l.feed_position, l.lag, l.armed, l.delivered, l.gaps,
           l.age_micros OPERATOR(pg_catalog.*) '1 microsecond'::pg_catalog.interval AS age,
           a.usename, a.application_name, a.client_addr
    FROM cache_sync_internal.listeners_now() l
    LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) l.database
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) l.pid;
COMMENT ON VIEW cache_sync.listeners IS 'The open feeds of the whole server, whose they are, and how far behind.';

CREATE OR REPLACE FUNCTION cache_sync_internal.feed_stats_now()
    RETURNS TABLE (epoch bigint, head bigint, ring_size bigint, listeners integer, published bigint, delivered bigint,
                   gaps bigint, flushes bigint, held bigint, slowest_pid integer, slowest_lag bigint, uncounted bigint,
                   since timestamptz)
    LANGUAGE c VOLATILE STRICT ROWS 1 AS 'MODULE_PATHNAME', 'feed_stats_now';

CREATE OR REPLACE VIEW cache_sync.feed_stats WITH (security_barrier) AS SELECT * FROM cache_sync_internal.feed_stats_now();
COMMENT ON VIEW cache_sync.feed_stats IS 'What the feed of the whole server has published, told and missed since it was counted anew.';

CREATE OR REPLACE FUNCTION cache_sync_internal.table_stats_now()
    RETURNS TABLE (table_id integer, changes bigint, flushes bigint, batches bigint, applied bigint, merged bigint, superseded bigint,
                   unchanged bigint, missing bigint, conflict bigint, rejected bigint, swallowed bigint, apply_seconds float8,
                   apply_seconds_max float8, failures bigint, last_sqlstate text, last_failed_at timestamptz, last_message text,
                   since timestamptz)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'table_stats_now';

CREATE OR REPLACE VIEW cache_sync.table_stats WITH (security_barrier) AS
    SELECT a.table_id, a.tbl, n.changes, n.flushes, n.batches, n.applied, n.merged, n.superseded, n.unchanged, n.missing, n.conflict,
           n.rejected, n.swallowed, n.apply_seconds, n.apply_seconds_max, n.failures, n.last_sqlstate, n.last_failed_at,
           n.last_message, n.since
    FROM cache_sync.attached a
    LEFT JOIN cache_sync_internal.table_stats_now() n ON n.table_id OPERATOR(pg_catalog.=) a.table_id
    WHERE pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
       OR pg_catalog.has_table_privilege(a.tbl, 'SELECT') AND NOT pg_catalog.row_security_active(a.tbl::pg_catalog.oid);
COMMENT ON VIEW cache_sync.table_stats IS
    'How much changed in each attached table that you may SELECT, and what became of patches, since it was counted anew.';

CREATE OR REPLACE FUNCTION cache_sync_internal.stuck_batches_now()
    RETURNS TABLE (table_id integer, session uuid, failures bigint, since timestamptz, last_failed_at timestamptz, sqlstate text,
                   message text)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'stuck_batches_now';

-- Who knows a session can take it over, so only those are told who may write the table themselves. One that was deleted sends no more.
CREATE OR REPLACE VIEW cache_sync.stuck_batches WITH (security_barrier) AS
    SELECT a.tbl,
           CASE WHEN pg_catalog.has_table_privilege(a.tbl, 'INSERT, UPDATE, DELETE') THEN n.session END AS session,
           n.failures, n.since, n.last_failed_at, n.sqlstate, n.message
    FROM cache_sync_internal.stuck_batches_now() n
    JOIN cache_sync.attached a ON a.table_id OPERATOR(pg_catalog.=) n.table_id
    WHERE EXISTS (SELECT FROM cache_sync.session s
                  WHERE s.session OPERATOR(pg_catalog.=) n.session AND s.table_id OPERATOR(pg_catalog.=) n.table_id);
COMMENT ON VIEW cache_sync.stuck_batches IS
    'Clients whose last tries to apply a batch failed: how often in a row, since when and why.';

CREATE OR REPLACE FUNCTION cache_sync.reset_stats(tbl regclass DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'reset_stats';
COMMENT ON FUNCTION cache_sync.reset_stats IS
    'Counts a table anew, or (for superusers) all tables of the database and what is counted of the whole server.';

CREATE OR REPLACE VIEW cache_sync.tables WITH (security_barrier) AS
    SELECT a.table_id, a.tbl, a.versioned, a.tags, a.default_ttl,
           (SELECT f.name FROM cache_sync.field f WHERE f.table_id = a.table_id AND f.field_id = a.expires) AS expires,
           (SELECT coalesce(pg_catalog.jsonb_object_agg(f.name, f.rule), '{}') FROM cache_sync.field f
            WHERE f.table_id = a.table_id AND NOT f.dropped) AS rules,
           CASE WHEN pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') OR pg_catalog.has_table_privilege(a.tbl, 'SELECT') THEN
               (SELECT pg_catalog.count(*) FROM cache_sync.session s WHERE s.table_id = a.table_id) END AS sessions,
           CASE WHEN pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') OR pg_catalog.has_table_privilege(a.tbl, 'SELECT') THEN
               (SELECT pg_catalog.count(*) FROM cache_sync.dead_letter d WHERE d.table_id = a.table_id) END AS dead_letters,
           CASE WHEN pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') OR pg_catalog.has_table_privilege(a.tbl, 'SELECT') THEN
               (SELECT pg_catalog.min(s.used_at) FROM cache_sync.session s WHERE s.table_id = a.table_id) END AS oldest_session,
           CASE WHEN pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') OR pg_catalog.has_table_privilege(a.tbl, 'SELECT') THEN
               (SELECT pg_catalog.min(d.at) FROM cache_sync.dead_letter d WHERE d.table_id = a.table_id) END AS oldest_dead_letter
    FROM cache_sync.attached a;
COMMENT ON VIEW cache_sync.tables IS 'The attached tables: their numbers on the feed, rules, tags and expiry.';

-- It counts sessions and dead letters of tables that the caller may read.
CREATE OR REPLACE FUNCTION cache_sync.status() RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object(
        'library', v.library, 'script', v.script, 'protocol', v.protocol,
        'preloaded', cache_sync_internal.is_preloaded(), 'feed_kind', cache_sync_internal.feed_kind(),
        'epoch', cache_sync.epoch(), 'hlc', cache_sync.hlc(),
        'tables', (SELECT count(*) FROM cache_sync.attached),
        'sessions', (SELECT coalesce(sum(t.sessions), 0) FROM cache_sync.tables t),
        'dead_letters', (SELECT coalesce(sum(t.dead_letters), 0) FROM cache_sync.tables t),
        'feed', (SELECT to_jsonb(f) FROM cache_sync.feed_stats f))
    FROM cache_sync.versions() v
$$;
COMMENT ON FUNCTION cache_sync.status IS
    'Sums up, as JSON: versions, the feed, and how many tables, sessions and dead letters there are.';

