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

-- Triggers of ours on these relations and their partitions that are not enabled always: those of attached tables, and of our own.
CREATE OR REPLACE FUNCTION cache_sync_internal.disabled_triggers(relids oid[]) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    disabled jsonb;
    of_rel jsonb;
    rel regclass;
BEGIN
    FOR rel IN SELECT r.relid FROM unnest(relids) o (relid), cache_sync_internal.relations(o.relid) r LOOP
        SELECT jsonb_agg(jsonb_build_object('name', t.tgname, 'table', rel::text)) INTO of_rel
        FROM pg_trigger t
        WHERE t.tgrelid = rel AND t.tgenabled <> 'A'
          AND (t.tgfoid IN (SELECT o.proc FROM cache_sync_internal.own_triggers(true) o)
               OR (SELECT f.pronamespace FROM pg_proc f WHERE f.oid = t.tgfoid) = 'cache_sync_internal'::regnamespace);
        disabled := coalesce(disabled || of_rel, of_rel, disabled);
    END LOOP;
    RETURN disabled;
END
$$;

-- What a command did that concerns attached tables, or our own; null if nothing.
--   altered   tables that were altered, or have a partition that was
--   refused   a table that was made to inherit, or to be inherited from
--   retyped   tables of which a type was altered
--   lacking   relations that may lack triggers that are not passed on to partitions
--   disabled  triggers of ours that are not enabled always
-- Each question is a query of its own that finds nothing by an index, in the order in which most commands are done with.
CREATE OR REPLACE FUNCTION cache_sync_internal.ddl_concerns() RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made oid[];
    altered oid[];
    made_of oid[];
    retyped oid[];
    kin oid[];
    is_ours boolean;
    concerns jsonb := '{}';
BEGIN
    SELECT array_agg(d.objid) FILTER (WHERE d.command_tag LIKE 'CREATE %TABLE' AND d.classid = 'pg_class'::regclass),
           array_agg(d.objid) FILTER (WHERE d.command_tag LIKE 'ALTER %' AND d.classid = 'pg_class'::regclass),
           array_agg(d.objid) FILTER (WHERE d.command_tag IN ('ALTER TYPE', 'ALTER DOMAIN', 'ALTER SCHEMA')),
           array_agg(d.objid) FILTER (WHERE d.command_tag = 'ALTER TYPE')
      INTO made, altered, made_of, retyped FROM pg_event_trigger_ddl_commands() d;
    kin := ARRAY(SELECT k.relid FROM pg_inherits i, unnest(ARRAY[i.inhrelid, i.inhparent]) k (relid)
                 WHERE i.inhrelid = ANY (made || altered) AND cache_sync_internal.is_own(i.xmin)
                   AND NOT (SELECT c.relispartition FROM pg_class c WHERE c.oid = i.inhrelid));
    is_ours := EXISTS (SELECT FROM pg_class c WHERE c.oid = ANY (altered) AND c.relnamespace = 'cache_sync'::regnamespace);
    -- Most commands end here.
    IF kin = '{}' AND made_of IS NULL AND NOT is_ours AND NOT EXISTS (SELECT FROM cache_sync_internal.attached_of(made || altered)) THEN
        RETURN NULL;
    END IF;
    IF kin <> '{}' THEN
        concerns := jsonb_build_object('refused', (SELECT a.tbl::text FROM cache_sync.attached a WHERE a.tbl = ANY (kin) LIMIT 1));
    END IF;
    IF made_of IS NOT NULL THEN
        made_of := cache_sync_internal.tables_made_of(made_of);
        retyped := cache_sync_internal.tables_made_of(retyped);
        concerns := concerns || jsonb_build_object('retyped', (
            SELECT jsonb_agg((o.att).table_id) FROM cache_sync_internal.attached_of(retyped) o));
    END IF;
    concerns := concerns || (
        SELECT jsonb_build_object(
            'altered', jsonb_agg(DISTINCT (o.att).table_id) FILTER (WHERE o.relid = ANY (altered || made_of)),
            'lacking', jsonb_agg(DISTINCT o.relid::oid::bigint) FILTER (
                WHERE o.relid = ANY (altered || made)
                  AND EXISTS (SELECT FROM pg_partitioned_table p WHERE p.partrelid = (o.att).tbl)
                  -- A dump makes each itself, and while the table is attached or detached, all that is seen to.
                  AND NOT cache_sync_internal.is_restore()
                  AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = (o.att).tbl AND t.tgname = 'cache_sync_truncate')),
            'disabled', cache_sync_internal.disabled_triggers(
                array_agg(DISTINCT o.relid::oid) FILTER (WHERE o.relid = ANY (altered))))
        FROM cache_sync_internal.attached_of(made || altered || made_of) o);
    IF is_ours THEN
        concerns := concerns || jsonb_build_object('disabled', cache_sync_internal.disabled_triggers(altered));
    END IF;
    RETURN nullif(jsonb_strip_nulls(concerns), '{}');
END
$$;

-- Triggers of ours that somebody has disabled, or enabled as others are: they fire always, or what others hold would get stale
-- without a word.
CREATE OR REPLACE FUNCTION cache_sync_internal.enable_triggers(disabled jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    trigger record;
BEGIN
    FOR trigger IN SELECT d.name, d."table" AS tbl FROM jsonb_to_recordset(disabled) AS d (name name, "table" text) LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', trigger.tbl, trigger.name);
    END LOOP;
END
$$;

-- An attached table that was altered, or has a partition that was, or is of a type or in a schema that was.
CREATE OR REPLACE FUNCTION cache_sync_internal.note_altered_table(table_id integer, is_retyped boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tbl regclass := cache_sync_internal.as_of_now(
        'SELECT to_jsonb(c.oid::bigint) FROM cache_sync.attached a JOIN pg_class c ON c.oid = a.tbl WHERE a.table_id = $1',
        table_id)::bigint::oid;
BEGIN
    -- Detached or dropped meanwhile: types and schemas are altered without a lock on what is made of them.
    IF tbl IS NULL THEN
        RETURN;
    END IF;
    -- Other values of a type have other hashes: a writer that has noted those of before must have told them before anybody
    -- relies on the new ones. Altering a type waits for nobody by itself.
    IF is_retyped THEN
        BEGIN
            PERFORM cache_sync_internal.wait_for_writers(tbl);
        EXCEPTION WHEN undefined_table THEN
            RETURN;
        END;
    END IF;
    PERFORM cache_sync_internal.note_known(table_id);
    -- Names of schemas and types are in compiled statements.
    PERFORM cache_sync_internal.invalidate_table(tbl);
    PERFORM cache_sync_internal.match_key(tbl, table_id);
    IF cache_sync_internal.as_of_now(
        'SELECT to_jsonb(a.rel_oid = a.tbl::oid AND NOT a.rekeyed) FROM cache_sync.attached a WHERE a.table_id = $1', table_id) = 'true'
    THEN
        PERFORM cache_sync_internal.sync_fields(table_id);
    END IF;
END
$$;

-- Notes whether the table has another primary key than it was attached with.
CREATE OR REPLACE FUNCTION cache_sync_internal.match_key(tbl regclass, table_id integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    concerned text := 'a.table_id = $1 AND a.rel_oid = a.tbl::oid
        AND a.rekeyed IS DISTINCT FROM (a.key IS DISTINCT FROM cache_sync_internal.key_now(a.tbl))';
BEGIN
    IF cache_sync_internal.as_of_now('SELECT to_jsonb(a.table_id) FROM cache_sync.attached a WHERE ' || concerned, table_id) IS NOT NULL
    THEN
        PERFORM cache_sync_internal.lock_books(tbl, table_id);
        PERFORM cache_sync_internal.as_of_now(
            'UPDATE cache_sync.attached a SET rekeyed = NOT a.rekeyed WHERE ' || concerned, table_id);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.note_altered() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    concerns jsonb := cache_sync_internal.as_of_now('SELECT cache_sync_internal.ddl_concerns()', 0);
BEGIN
    IF concerns IS NULL THEN
        RETURN;
    ELSIF concerns ? 'refused' THEN
        RAISE EXCEPTION '% is attached: it can neither inherit nor be inherited from', concerns ->> 'refused'
            USING ERRCODE = 'wrong_object_type',
                  DETAIL = 'A key does not identify one row there, and what is written to children would not be told.',
                  HINT = 'Use declarative partitioning, or detach the table first.';
    END IF;
    PERFORM cache_sync_internal.enable_triggers(concerns -> 'disabled');
    -- Partitions that come along lack the trigger that is not passed on to them.
    PERFORM cache_sync_internal.truncate_triggers(l.relid::bigint::oid) FROM jsonb_array_elements(concerns -> 'lacking') l (relid);
    PERFORM cache_sync_internal.note_altered_table(t.id::integer, coalesce(concerns -> 'retyped' @> t.id, false))
    FROM jsonb_array_elements(concerns -> 'altered') t (id);
END
$$;

-- What a command dropped that concerns attached tables: these themselves or their columns, and partitions. A partition is known by
-- our trigger on it; whose it was can no longer be seen. Says of each table by its number whether its fields are to be matched: it is
-- still there, with fewer columns, since one may go with its type.
CREATE OR REPLACE FUNCTION cache_sync_internal.dropped_of() RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relids oid[];
    has_partition boolean;
BEGIN
    SELECT array_agg(d.objid) FILTER (WHERE d.classid = 'pg_class'::regclass),
           coalesce(bool_or(d.classid = 'pg_trigger'::regclass AND NOT d.original
                            AND d.address_names[3] IN (SELECT o.name::text FROM cache_sync_internal.own_triggers(false) o
                                                       WHERE o.each = 'ROW')), false)
      INTO relids, has_partition FROM pg_event_trigger_dropped_objects() d;
    RETURN (SELECT jsonb_object_agg(a.table_id, a.rel_oid = a.tbl::oid AND NOT a.rekeyed
                                                AND EXISTS (SELECT FROM pg_class c WHERE c.oid = a.tbl))
            FROM cache_sync.attached a
            WHERE a.tbl = ANY (relids)
               OR has_partition AND EXISTS (SELECT FROM pg_partitioned_table p WHERE p.partrelid = a.tbl));
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.note_dropped() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dropped record;
BEGIN
    FOR dropped IN SELECT d.table_id::integer AS table_id, d.is_there::boolean AS is_there
                   FROM jsonb_each_text(cache_sync_internal.as_of_now('SELECT cache_sync_internal.dropped_of()', 0)) d (table_id, is_there)
    LOOP
        PERFORM cache_sync_internal.note_known(dropped.table_id);
        IF dropped.is_there THEN
            PERFORM cache_sync_internal.sync_fields(dropped.table_id);
        END IF;
    END LOOP;
END
$$;

-- Matches the fields of a table that was restored, before it is altered: they are known by name until then. A restore alters its
-- tables, too, before all is there. Others wait for nobody here: they may be in a restore that takes hours.
CREATE OR REPLACE FUNCTION cache_sync_internal.match_restored(relid oid) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id integer := cache_sync_internal.as_of_now(
        'SELECT to_jsonb((o.att).table_id) FROM cache_sync_internal.attached_of(ARRAY[$1::oid]) o
         WHERE (o.att).rel_oid <> (o.att).tbl::oid AND EXISTS (SELECT FROM cache_sync_internal.key_columns((o.att).tbl))
           AND EXISTS (SELECT FROM cache_sync.field f WHERE f.table_id = (o.att).table_id)', relid::integer)::integer;
BEGIN
    IF id IS NOT NULL THEN
        PERFORM cache_sync_internal.sync_fields(id);
    END IF;
END
$$;

-- Before a table is altered. A partition that leaves it concurrently takes its rows along with this transaction's end; the command itself
-- ends in another one, once all have ended who may still read them there.
CREATE OR REPLACE FUNCTION cache_sync_internal.note_altering(relid oid, loses_concurrently boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM cache_sync_internal.match_restored(relid);
    IF loses_concurrently THEN
        PERFORM cache_sync_internal.note_known(t.id::integer)
        FROM jsonb_array_elements(cache_sync_internal.as_of_now(
            'SELECT jsonb_agg((o.att).table_id) FROM cache_sync_internal.attached_of(ARRAY[$1::oid]) o', relid::integer)) t (id);
    END IF;
END
$$;

-- Fields are matched with columns at once, so that nobody sees two renames at a time, be it in a dump. It fires with commands of
-- others, so it finishes quickly with what does not concern attached tables, and it must not fail, but for a lock on a table whose
-- type is altered, and for what attach refuses, too. To plan its queries anew for each command would take longer than they do.
CREATE OR REPLACE FUNCTION cache_sync_internal.note_ddl() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    CASE tg_event
        WHEN 'sql_drop' THEN PERFORM cache_sync_internal.note_dropped();
        WHEN 'ddl_command_end' THEN PERFORM cache_sync_internal.note_altered();
    END CASE;
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.note_alter() RETURNS event_trigger LANGUAGE c AS 'MODULE_PATHNAME', 'note_alter';

-- Tables and their columns are also renamed by ALTER INDEX and by commands for views and foreign tables, and CREATE SCHEMA may make
-- tables, too.
CREATE EVENT TRIGGER cache_sync_before_ddl ON ddl_command_start WHEN TAG IN (
    'ALTER TABLE', 'ALTER FOREIGN TABLE', 'ALTER INDEX', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW')
    EXECUTE FUNCTION cache_sync_internal.note_alter();
CREATE EVENT TRIGGER cache_sync_ddl ON ddl_command_end WHEN TAG IN (
    'CREATE TABLE', 'CREATE FOREIGN TABLE', 'CREATE SCHEMA', 'IMPORT FOREIGN SCHEMA', 'ALTER TABLE', 'ALTER FOREIGN TABLE',
    'ALTER INDEX', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER TYPE', 'ALTER DOMAIN', 'ALTER SCHEMA')
    EXECUTE FUNCTION cache_sync_internal.note_ddl();
CREATE EVENT TRIGGER cache_sync_drop ON sql_drop EXECUTE FUNCTION cache_sync_internal.note_ddl();
ALTER EVENT TRIGGER cache_sync_before_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER cache_sync_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER cache_sync_drop ENABLE ALWAYS;
