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

-- Triggers FOR EACH STATEMENT of the table and of each of its partitions that lacks them, or has another table's.
CREATE OR REPLACE FUNCTION cache_sync_internal.truncate_triggers(tbl regclass, table_id integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ours record;
    lacking oid[];
    part regclass;
BEGIN
    FOR ours IN SELECT o.* FROM cache_sync_internal.own_triggers(false) o WHERE o.each = 'STATEMENT' LOOP
        lacking := ARRAY(SELECT r.relid FROM cache_sync_internal.relations(tbl) r WHERE NOT EXISTS (
            SELECT FROM pg_trigger t WHERE t.tgrelid = r.relid AND t.tgname = ours.name
              AND t.tgargs = convert_to(table_id::text, 'UTF8') || '\x00'::bytea));
        FOREACH part IN ARRAY lacking LOOP
            EXECUTE format('CREATE OR REPLACE TRIGGER %I %s ON %s FOR EACH %s EXECUTE FUNCTION %s(%L)',
                           ours.name, ours.fires, part, ours.each, ours.proc, table_id);
        END LOOP;
        -- Only now: an event trigger of ours sees to partitions that lack some whenever a table is altered.
        FOREACH part IN ARRAY lacking LOOP
            EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', part, ours.name);
        END LOOP;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.create_triggers(tbl regclass, table_id integer, versioned boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ours record;
BEGIN
    FOR ours IN SELECT o.* FROM cache_sync_internal.own_triggers(versioned) o WHERE o.each = 'ROW' LOOP
        EXECUTE format('CREATE TRIGGER %I %s ON %s FOR EACH %s EXECUTE FUNCTION %s(%L)',
                       ours.name, ours.fires, tbl, ours.each, ours.proc, table_id);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', tbl, ours.name);
    END LOOP;
    PERFORM cache_sync_internal.truncate_triggers(tbl, table_id);
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.drop_triggers(tbl regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT t.tgname, t.tgrelid::regclass AS relid
        FROM pg_trigger t JOIN cache_sync_internal.relations(tbl) r ON r.relid = t.tgrelid
        WHERE t.tgparentid = 0 AND t.tgfoid IN (SELECT o.proc FROM cache_sync_internal.own_triggers(true) o)
        ORDER BY t.tgrelid, t.tgname
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.relid);
    END LOOP;
END
$$;

