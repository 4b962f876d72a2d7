-- What queries depend on.

CREATE OR REPLACE FUNCTION cache_sync.dependencies(sql text, parameter_types regtype[] DEFAULT '{}') RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'dependencies';
COMMENT ON FUNCTION cache_sync.dependencies IS
    'What a SELECT reads: attached tables, what pins the rows of them that matter, and what nobody would tell of.';

-- Which views read which attached tables, be it through other views.
CREATE OR REPLACE FUNCTION cache_sync_internal.read_by_views() RETURNS TABLE (view oid, table_id integer)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE direct (view, relid) AS (
        SELECT r.ev_class, d.refobjid FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
    ), reads (view, relid) AS (
        SELECT d.view, d.relid FROM direct d JOIN cache_sync.attached a ON d.relid = a.tbl OR pg_partition_root(d.relid) = a.tbl
        UNION
        SELECT d.view, r.relid FROM reads r JOIN direct d ON d.relid = r.view
    )
    SELECT DISTINCT r.view, a.table_id FROM reads r
    JOIN cache_sync.attached a ON a.tbl IN (r.relid, pg_partition_root(r.relid))
$$;

-- A view or a policy that changes is a change of the tables that results depend on because of it, those that it read before. What a
-- view read can be seen only before a command replaces or drops it, so that is kept until the command has ended.
CREATE OR REPLACE FUNCTION cache_sync_internal.note_views() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before jsonb := coalesce(nullif(current_setting('cache_sync_views.before', true), ''), '[]');
    views oid[];
    policed oid[];
BEGIN
    IF tg_event = 'ddl_command_start' THEN
        PERFORM set_config('cache_sync_views.before', coalesce(
            (SELECT jsonb_agg(jsonb_build_object('view', r.view::bigint, 'table_id', r.table_id))
             FROM cache_sync_internal.read_by_views() r)::text, '[]'), true);
        RETURN;
    ELSIF tg_event = 'sql_drop' THEN
        SELECT array_agg(d.objid) FILTER (WHERE d.object_type = 'view'),
               array_agg(to_regclass(format('%I.%I', d.address_names[1], d.address_names[2]))::oid)
                   FILTER (WHERE d.object_type IN ('policy', 'rule'))
          INTO views, policed FROM pg_event_trigger_dropped_objects() d;
    ELSE
        SELECT array_agg(d.objid) FILTER (WHERE d.classid = 'pg_class'::regclass),
               array_agg(coalesce((SELECT p.polrelid FROM pg_policy p WHERE d.classid = 'pg_policy'::regclass AND p.oid = d.objid),
                                  (SELECT r.ev_class FROM pg_rewrite r WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid)))
          INTO views, policed FROM pg_event_trigger_ddl_commands() d
         WHERE d.object_type IN ('view', 'policy', 'rule');
    END IF;
    IF views IS NULL AND policed IS NULL THEN
        RETURN;
    END IF;
    -- A rule's relation may be a view, too.
    views := views || policed;
    PERFORM cache_sync_internal.note_known(n.table_id)
    FROM (SELECT (b ->> 'table_id')::integer AS table_id FROM jsonb_array_elements(before) b
          WHERE (b ->> 'view')::oid = ANY (views)
          -- Nobody has asked a view yet that is just made.
          UNION SELECT r.table_id FROM cache_sync_internal.read_by_views() r WHERE r.view = ANY (views) AND tg_tag LIKE 'ALTER %'
          UNION SELECT a.table_id FROM cache_sync.attached a
          WHERE a.tbl = ANY (policed) OR a.tbl IN (SELECT pg_partition_root(p) FROM unnest(policed) p)) n;
END
$$;
CREATE EVENT TRIGGER cache_sync_before_views ON ddl_command_start
    WHEN TAG IN ('CREATE VIEW', 'CREATE RULE', 'DROP VIEW', 'DROP RULE', 'DROP SCHEMA', 'DROP OWNED', 'DROP FUNCTION', 'DROP TYPE')
    EXECUTE FUNCTION cache_sync_internal.note_views();
CREATE EVENT TRIGGER cache_sync_views ON ddl_command_end
    WHEN TAG IN ('CREATE VIEW', 'ALTER VIEW', 'ALTER TABLE', 'CREATE RULE', 'ALTER RULE', 'CREATE POLICY', 'ALTER POLICY')
    EXECUTE FUNCTION cache_sync_internal.note_views();
CREATE EVENT TRIGGER cache_sync_views_drop ON sql_drop
    WHEN TAG IN ('DROP VIEW', 'DROP RULE', 'DROP SCHEMA', 'DROP OWNED', 'DROP FUNCTION', 'DROP TYPE', 'DROP POLICY')
    EXECUTE FUNCTION cache_sync_internal.note_views();
ALTER EVENT TRIGGER cache_sync_before_views ENABLE ALWAYS;
ALTER EVENT TRIGGER cache_sync_views ENABLE ALWAYS;
ALTER EVENT TRIGGER cache_sync_views_drop ENABLE ALWAYS;
