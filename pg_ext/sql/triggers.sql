-- The triggers of attached tables, and the locks that it takes to make them.

-- These stay in the schema cache_sync: dumps name them in the definitions of triggers.
CREATE OR REPLACE FUNCTION cache_sync.note_change() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'note_change';
COMMENT ON FUNCTION cache_sync.note_change IS 'The trigger of attached tables that notes each row''s change for the feed.';
CREATE OR REPLACE FUNCTION cache_sync.note_truncate() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'note_truncate';
COMMENT ON FUNCTION cache_sync.note_truncate IS 'The trigger of attached tables that notes a TRUNCATE for the feed.';
CREATE OR REPLACE FUNCTION cache_sync.set_version() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'set_version';
COMMENT ON FUNCTION cache_sync.set_version IS 'The trigger of versioned tables that numbers what is written to a row.';

-- Our triggers of an attached table. Postgres clones those FOR EACH ROW to a table's partitions, also to those that come later, and
-- none FOR EACH STATEMENT. The name of the one that sets versions sorts last, so that it sees what will be stored.
CREATE OR REPLACE FUNCTION cache_sync_internal.own_triggers(versioned boolean)
    RETURNS TABLE (name name, proc regproc, fires text, each text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT o.name, o.proc, o.fires, o.each
    FROM (VALUES
        ('cache_sync_change'::name, 'cache_sync.note_change'::regproc, 'AFTER INSERT OR UPDATE OR DELETE', 'ROW', true),
        ('cache_sync_truncate', 'cache_sync.note_truncate', 'AFTER TRUNCATE', 'STATEMENT', true),
        ('~cache_sync_version', 'cache_sync.set_version', 'BEFORE INSERT OR UPDATE', 'ROW', own_triggers.versioned))
        AS o (name, proc, fires, each, wanted)
    WHERE o.wanted
$$;

-- DDL waits for whoever holds the table, and everybody else waits behind it: not for ever, unless the caller wants it so.
-- Returns what was set before, to be set again.
CREATE OR REPLACE FUNCTION cache_sync_internal.bound_lock_wait() RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before text := current_setting('lock_timeout');
BEGIN
    IF before = '0' THEN
        PERFORM set_config('lock_timeout', '5s', true);
    END IF;
    RETURN before;
END
$$;

-- Waits until nobody writes the table; 5 s at most, unless lock_timeout says otherwise.
CREATE OR REPLACE FUNCTION cache_sync_internal.wait_for_writers(tbl regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lock_timeout text := cache_sync_internal.bound_lock_wait();
BEGIN
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', tbl);
    PERFORM set_config('lock_timeout', lock_timeout, true);
END
$$;

-- Makes every backend read anew what it knows of the table and its partitions.
CREATE OR REPLACE FUNCTION cache_sync_internal.invalidate_table(tbl regclass) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'invalidate_table';

-- Makes a trigger that fires always, without a command that others' event triggers, and ours, would look at: an attached table may
-- have hundreds of partitions. Only the table's owner may have it make one, and only with a function of our own.
CREATE OR REPLACE FUNCTION cache_sync_internal.create_trigger(
    tbl regclass, name name, proc regproc, fires text, each text, table_id integer) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'create_trigger';

-- The attached tables, with the relations among these that each of them is or has as partitions. No relation is locked.
CREATE OR REPLACE FUNCTION cache_sync_internal.attached_of(relids oid[]) RETURNS TABLE (att cache_sync.attached, relid regclass)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOREACH relid IN ARRAY coalesce(relids, '{}') LOOP
        RETURN QUERY SELECT a, attached_of.relid FROM cache_sync.attached a
            WHERE a.tbl = ANY (relid::oid || ARRAY(SELECT p.relid::oid FROM pg_partition_ancestors(attached_of.relid) p));
    END LOOP;
END
$$;

-- Whether a dump is being restored: what pg_dump writes and pg_restore says begins with switching off these two.
CREATE OR REPLACE FUNCTION cache_sync_internal.is_restore() RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT (current_setting('check_function_bodies')::boolean OR current_setting('row_security')::boolean)
$$;

-- The relations, of this one and its partitions, that lack a trigger FOR EACH STATEMENT, or have another table's. Looked at one by one:
-- the planner cannot know that few are asked for, and would read the whole catalog.
CREATE OR REPLACE FUNCTION cache_sync_internal.lacking_triggers(part regclass) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id integer := (SELECT (o.att).table_id FROM cache_sync_internal.attached_of(ARRAY[part::oid]) o);
    own name := (SELECT o.name FROM cache_sync_internal.own_triggers(false) o WHERE o.each = 'STATEMENT');
    argument bytea := convert_to(id::text, 'UTF8') || '\x00'::bytea;
    lacking jsonb := '[]';
    rel regclass;
BEGIN
    FOR rel IN SELECT r.relid FROM cache_sync_internal.relations(part) r LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = rel AND t.tgname = own AND t.tgargs = argument) THEN
            lacking := lacking || jsonb_build_object('relid', rel::oid::bigint, 'table_id', id);
        END IF;
    END LOOP;
    RETURN lacking;
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.truncate_triggers(part regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM cache_sync_internal.create_trigger(l.relid::oid, o.name, o.proc, o.fires, o.each, l.table_id)
    FROM cache_sync_internal.own_triggers(false) o,
         jsonb_to_recordset(cache_sync_internal.as_of_now(
             'SELECT cache_sync_internal.lacking_triggers($1::oid)', part::oid::integer)) AS l (relid bigint, table_id integer)
    WHERE o.each = 'STATEMENT';
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.create_triggers(tbl regclass, table_id integer, versioned boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM cache_sync_internal.create_trigger(tbl, o.name, o.proc, o.fires, o.each, table_id)
    FROM cache_sync_internal.own_triggers(versioned) o WHERE o.each = 'ROW';
    PERFORM cache_sync_internal.truncate_triggers(tbl);
END
$$;

-- Those of our triggers that Postgres does not drop with others.
CREATE OR REPLACE FUNCTION cache_sync_internal.triggers_to_drop(tbl regclass) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off AS $$
    SELECT jsonb_agg(jsonb_build_object('name', t.tgname, 'relid', t.tgrelid::bigint) ORDER BY t.tgrelid, t.tgname)
    FROM pg_trigger t JOIN cache_sync_internal.relations(tbl) r ON r.relid = t.tgrelid
    WHERE t.tgparentid = 0 AND t.tgfoid IN (SELECT o.proc FROM cache_sync_internal.own_triggers(true) o)
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.drop_triggers(tbl regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT d.name, d.relid::oid::regclass AS relid
        FROM jsonb_to_recordset(cache_sync_internal.as_of_now(
            'SELECT cache_sync_internal.triggers_to_drop($1::oid)', tbl::oid::integer)) AS d (name name, relid bigint)
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found.name, found.relid);
    END LOOP;
END
$$;

-- Tables that are not attached, nor partitions of one that is, and have triggers or defaults of ours: a partition that was detached
-- keeps them, CREATE TABLE ... (LIKE ...) copies defaults. They are in the way of DROP EXTENSION.
CREATE OR REPLACE FUNCTION cache_sync_internal.leftovers() RETURNS TABLE (tbl regclass)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT f.relid FROM (
        SELECT t.tgrelid::regclass AS relid FROM pg_trigger t
        WHERE t.tgparentid = 0 AND t.tgfoid IN (SELECT o.proc FROM cache_sync_internal.own_triggers(true) o)
        UNION SELECT d.relid FROM cache_sync_internal.version_defaults() d) f
    WHERE NOT EXISTS (SELECT FROM cache_sync.attached a WHERE a.tbl = f.relid)
      AND NOT EXISTS (SELECT FROM pg_partition_ancestors(f.relid) p JOIN cache_sync.attached a ON a.tbl = p.relid)
$$;
