-- What run_maintenance deletes.

-- The statement that deletes a table's rows that have expired, $1 of them; null where none do.
CREATE OR REPLACE FUNCTION cache_sync_internal.prune_statement(tbl regclass) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('WITH old AS MATERIALIZED (SELECT t.tableoid, t.ctid FROM %1$s t '
                  'WHERE t.%2$I OPERATOR(pg_catalog.<=) pg_catalog.now() LIMIT $1 FOR UPDATE SKIP LOCKED) '
                  'DELETE FROM %1$s t USING old WHERE t.tableoid OPERATOR(pg_catalog.=) old.tableoid '
                  'AND t.ctid OPERATOR(pg_catalog.=) old.ctid', a.tbl, col.attname)
    FROM cache_sync.attached a
    JOIN cache_sync.field f ON f.table_id = a.table_id AND f.field_id = a.expires AND NOT f.dropped
    -- In a restored table a field is its name, until it is matched: its number may be that of another column.
    JOIN pg_attribute col ON col.attrelid = a.tbl AND NOT col.attisdropped
        AND CASE WHEN a.rel_oid = a.tbl::oid THEN col.attnum = f.attnum ELSE col.attname = f.name END
    WHERE a.tbl = prune_statement.tbl
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.prune_expired(tbl regclass, max_rows integer) RETURNS bigint
    LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'prune_expired';

-- For how long sessions (`session_keep`) or dead letters (`dead_letter_keep`) are kept.
CREATE OR REPLACE FUNCTION cache_sync_internal.kept_for(setting text) RETURNS interval
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Loads the library, whose settings these are.
    PERFORM cache_sync_internal.is_preloaded();
    RETURN current_setting('cache_sync.' || setting)::interval;
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.prune_sessions(max_rows integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keep interval := cache_sync_internal.kept_for('session_keep');
    pruned bigint;
BEGIN
    DELETE FROM cache_sync.session s WHERE s.ctid = ANY (ARRAY(
        SELECT o.ctid FROM cache_sync.session o WHERE o.used_at < now() - keep LIMIT max_rows FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.prune_dead_letters(max_rows integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keep interval := cache_sync_internal.kept_for('dead_letter_keep');
    pruned bigint;
BEGIN
    DELETE FROM cache_sync.dead_letter d WHERE d.ctid = ANY (ARRAY(
        SELECT o.ctid FROM cache_sync.dead_letter o WHERE o.at < now() - keep LIMIT max_rows FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END
$$;

-- What has piled up for a table. Of what the caller may not SELECT, the view tells no numbers.
CREATE OR REPLACE FUNCTION cache_sync_internal.backlog_problems(tbl regclass) RETURNS TABLE (problem text, hint text)
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%s refused patches are kept, the oldest since %s', t.dead_letters, t.oldest_dead_letter),
           format('Requeue or discard what SELECT * FROM cache_sync.dead_letters WHERE tbl = %L shows.', t.tbl)
    FROM cache_sync.tables t WHERE t.tbl = backlog_problems.tbl AND t.dead_letters > 100
    UNION ALL
    SELECT format('sessions are kept that nobody has used since %s', t.oldest_session), 'Call run_maintenance() regularly.'
    FROM cache_sync.tables t
    WHERE t.tbl = backlog_problems.tbl AND t.oldest_session < now() - cache_sync_internal.kept_for('session_keep') - interval '2 days'
$$;

-- Of each kind and table `max_rows` at most, so that no transaction gets long. It takes the right to DELETE; rows are deleted as
-- the table's owner, so that triggers get no rights of the caller's.
CREATE OR REPLACE FUNCTION cache_sync.run_maintenance(max_rows integer DEFAULT 10000)
    RETURNS TABLE (what text, tbl regclass, pruned bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att record;
BEGIN
    IF max_rows IS NULL OR max_rows < 1 THEN
        RAISE EXCEPTION 'max_rows must be at least 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR att IN
        SELECT a.tbl FROM cache_sync.attached a JOIN pg_class c ON c.oid = a.tbl
        WHERE a.expires IS NOT NULL AND has_table_privilege(a.tbl, 'DELETE') ORDER BY a.table_id
    LOOP
        what := 'expired rows';
        tbl := att.tbl;
        BEGIN
            pruned := cache_sync_internal.prune_expired(att.tbl, max_rows);
        EXCEPTION WHEN OTHERS THEN
            -- A row that others refer to, a trigger that raises: the other tables are pruned all the same.
            RAISE WARNING 'expired rows of % could not be deleted: %', att.tbl, SQLERRM USING ERRCODE = SQLSTATE;
            pruned := 0;
        END;
        RETURN NEXT;
    END LOOP;
    what := 'sessions';
    tbl := NULL;
    pruned := cache_sync_internal.prune_sessions(max_rows);
    RETURN NEXT;
    what := 'dead letters';
    pruned := cache_sync_internal.prune_dead_letters(max_rows);
    RETURN NEXT;
    PERFORM cache_sync_internal.forget_dropped();
END
$$;
COMMENT ON FUNCTION cache_sync.run_maintenance IS
    'Deletes expired rows, unused sessions, old dead letters, and what is known of dropped tables; to be called until it says 0 everywhere.';

