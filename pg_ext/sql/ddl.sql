-- What DDL does to attached tables. It changes what rows look like, moves them in and out with partitions, or takes them away: then
-- the table as a whole has changed.

-- The tables that are in one of these schemas or have columns of one of these types, or of types made of them. Types and
-- schemas are in different catalogs, and an oid that means one thing in one of them may mean another in the other: then a
-- table too much is named.
CREATE OR REPLACE FUNCTION cache_sync_internal.tables_made_of(objects oid[]) RETURNS oid[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE made (oid) AS (
        SELECT t.oid FROM pg_type t WHERE t.oid = ANY (objects) OR t.typnamespace = ANY (objects)
                                       OR (t.typrelid = ANY (objects) AND t.typrelid <> 0)
        UNION
        SELECT t.oid FROM made m, pg_type t
        WHERE (t.typelem = m.oid AND t.typsubscript = 'array_subscript_handler'::regproc) OR t.typbasetype = m.oid
           OR (t.typtype = 'c' AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.atttypid = m.oid))
    )
    SELECT array_agg(c.oid) FROM pg_class c
    WHERE c.relkind IN ('r', 'p')
      AND (c.relnamespace = ANY (objects)
           OR EXISTS (SELECT FROM pg_attribute a JOIN made m ON m.oid = a.atttypid WHERE a.attrelid = c.oid))
$$;

-- A partition is known by our trigger on it; whose it was can no longer be seen.
CREATE OR REPLACE FUNCTION cache_sync_internal.note_dropped() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att record;
BEGIN
    FOR att IN
        SELECT a.table_id FROM cache_sync.attached a
        WHERE EXISTS (SELECT FROM pg_event_trigger_dropped_objects() d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = a.tbl AND d.objsubid = 0
                         OR d.classid = 'pg_trigger'::regclass AND NOT d.original
                            AND d.address_names[3] IN (SELECT o.name::text FROM cache_sync_internal.own_triggers(false) o
                                                       WHERE o.each = 'ROW')
                            AND EXISTS (SELECT FROM pg_partitioned_table p WHERE p.partrelid = a.tbl))
    LOOP
        PERFORM cache_sync_internal.note_known(att.table_id);
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.note_altered() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    altered oid[];
    made_of oid[];
    retyped oid[];
    att record;
BEGIN
    SELECT array_agg(d.objid) FILTER (WHERE d.command_tag = 'ALTER TABLE' AND d.classid = 'pg_class'::regclass),
           array_agg(d.objid) FILTER (WHERE d.command_tag IN ('ALTER TYPE', 'ALTER DOMAIN', 'ALTER SCHEMA')),
           array_agg(d.objid) FILTER (WHERE d.command_tag = 'ALTER TYPE')
      INTO altered, made_of, retyped FROM pg_event_trigger_ddl_commands() d;
    -- Partitions that come along lack the trigger that is not passed on to them.
    PERFORM cache_sync_internal.truncate_triggers(a.tbl, a.table_id)
    FROM cache_sync.attached a JOIN pg_partitioned_table p ON p.partrelid = a.tbl
    WHERE EXISTS (SELECT FROM pg_trigger t JOIN cache_sync_internal.own_triggers(false) o ON o.name = t.tgname
                  WHERE t.tgrelid = a.tbl AND o.each = 'STATEMENT')
      AND EXISTS (SELECT FROM pg_event_trigger_ddl_commands() d JOIN cache_sync_internal.relations(a.tbl) r ON r.relid = d.objid
                  WHERE d.command_tag IN ('CREATE TABLE', 'ALTER TABLE') AND d.classid = 'pg_class'::regclass);
    IF made_of IS NOT NULL THEN
        altered := altered || cache_sync_internal.tables_made_of(made_of);
    END IF;
    IF altered IS NULL THEN
        RETURN;
    END IF;
    -- Other values of a type have other hashes: a writer that has noted those of before must have told them before anybody
    -- relies on the new ones. Altering a type waits for nobody by itself.
    IF retyped IS NOT NULL THEN
        retyped := cache_sync_internal.tables_made_of(retyped);
    END IF;
    FOR att IN
        SELECT a.* FROM cache_sync.attached a
        WHERE EXISTS (SELECT FROM cache_sync_internal.relations(a.tbl) r WHERE r.relid = ANY (altered))
    LOOP
        IF att.tbl = ANY (retyped) THEN
            PERFORM cache_sync_internal.wait_for_writers(att.tbl);
        END IF;
        PERFORM cache_sync_internal.note_known(att.table_id);
        -- Names of schemas and types are in compiled statements.
        PERFORM cache_sync_internal.invalidate_table(att.tbl);
        UPDATE cache_sync.attached a SET rekeyed = NOT a.rekeyed
        WHERE a.table_id = att.table_id AND a.rel_oid = a.tbl::oid
          AND a.rekeyed IS DISTINCT FROM (a.key IS DISTINCT FROM cache_sync_internal.key_now(a.tbl));
        PERFORM cache_sync_internal.sync_fields(a.table_id) FROM cache_sync.attached a
        WHERE a.table_id = att.table_id AND a.rel_oid = a.tbl::oid AND NOT a.rekeyed;
    END LOOP;
END
$$;

-- Fields are matched with columns at once, so that nobody sees two renames at a time, be it in a dump; those of a restored table,
-- which are known by name, before anything is renamed. It fires with every command in this database, so it finishes quickly with
-- those that alter neither tables nor types, and it must not fail, but for a lock on a table whose type is altered.
CREATE OR REPLACE FUNCTION cache_sync_internal.note_ddl() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE tg_event
        WHEN 'ddl_command_start' THEN
            PERFORM cache_sync_internal.sync_fields(a.table_id) FROM cache_sync.attached a
            WHERE a.rel_oid <> a.tbl::oid AND EXISTS (SELECT FROM cache_sync_internal.key_columns(a.tbl))
              -- A restore that disables triggers alters our tables, too: its fields may be still to come.
              AND EXISTS (SELECT FROM cache_sync.field f WHERE f.table_id = a.table_id);
        WHEN 'sql_drop' THEN PERFORM cache_sync_internal.note_dropped();
        WHEN 'ddl_command_end' THEN PERFORM cache_sync_internal.note_altered();
    END CASE;
END
$$;

CREATE EVENT TRIGGER cache_sync_before_ddl ON ddl_command_start WHEN TAG IN ('ALTER TABLE')
    EXECUTE FUNCTION cache_sync_internal.note_ddl();
CREATE EVENT TRIGGER cache_sync_ddl ON ddl_command_end EXECUTE FUNCTION cache_sync_internal.note_ddl();
CREATE EVENT TRIGGER cache_sync_drop ON sql_drop EXECUTE FUNCTION cache_sync_internal.note_ddl();
ALTER EVENT TRIGGER cache_sync_before_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER cache_sync_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER cache_sync_drop ENABLE ALWAYS;

