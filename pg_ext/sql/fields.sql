-- What is kept of attached tables: their fields and tags, matched with columns, and what goes with a table that goes.

-- Where fields and columns no longer agree: a field without column, a column without field, another name or number.
-- In the same table (same oid) a field is its number, and follows a rename; in a restored one (another oid) it is its
-- name.
CREATE OR REPLACE FUNCTION cache_sync_internal.field_drift(table_id integer)
    RETURNS TABLE (field_id smallint, attnum smallint, name name)
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    WITH t AS (SELECT a.*, a.rel_oid = a.tbl::oid AS same FROM cache_sync.attached a
               WHERE a.table_id = field_drift.table_id),
    c AS (SELECT c.attnum, c.attname, CASE WHEN t.same THEN c.attnum::text ELSE c.attname::text END AS link
          FROM t, cache_sync_internal.field_columns(t.tbl) c),
    f AS (SELECT f.*, CASE WHEN t.same THEN f.attnum::text ELSE f.name::text END AS link
          FROM t JOIN cache_sync.field f USING (table_id) WHERE NOT f.dropped)
    SELECT f.field_id, c.attnum, c.attname
    FROM c FULL JOIN f USING (link)
    WHERE f.field_id IS NULL OR c.attnum IS NULL OR f.attnum <> c.attnum OR f.name <> c.attname
$$;

-- The columns of the tags: by number in the same table, in a restored one by name. A column that is gone leaves its name to
-- one that is added later.
CREATE OR REPLACE FUNCTION cache_sync_internal.tags_now(att cache_sync.attached, OUT tags name[], OUT attnums smallint[])
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(coalesce(c.attname, t.name) ORDER BY t.ord), '{}'),
           coalesce(array_agg(coalesce(c.attnum, n.attnum, 0) ORDER BY t.ord), '{}')
    FROM unnest(att.tags, att.tag_attnums) WITH ORDINALITY AS t (name, attnum, ord)
    LEFT JOIN pg_attribute c ON c.attrelid = att.tbl AND c.attnum = t.attnum AND c.attnum > 0 AND NOT c.attisdropped
                            AND att.rel_oid = att.tbl::oid
    LEFT JOIN pg_attribute n ON n.attrelid = att.tbl AND n.attname = t.name AND n.attnum > 0 AND NOT n.attisdropped
$$;

-- Whether something is to be brought up to date.
CREATE OR REPLACE FUNCTION cache_sync_internal.has_drift(table_id integer) RETURNS boolean
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.rel_oid <> a.tbl::oid OR EXISTS (SELECT FROM cache_sync_internal.field_drift(a.table_id))
        OR EXISTS (SELECT FROM cache_sync_internal.tags_now(a) n WHERE (n.tags, n.attnums) IS DISTINCT FROM (a.tags, a.tag_attnums))
    FROM cache_sync.attached a WHERE a.table_id = has_drift.table_id
$$;

-- Brings the fields up to date with the table's columns. A dropped field keeps its number, which is never used again; a
-- column that takes its name has its rule: programs go on saying "+1" when they mean that name.
CREATE OR REPLACE FUNCTION cache_sync_internal.sync_fields(table_id integer) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    drifting oid := cache_sync_internal.as_of_now(
        'SELECT to_jsonb(a.tbl::oid::bigint) FROM cache_sync.attached a
         WHERE a.table_id = $1 AND cache_sync_internal.has_drift($1)', table_id)::bigint::oid;
BEGIN
    IF drifting IS NULL THEN
        RETURN;
    END IF;
    PERFORM cache_sync_internal.lock_books(drifting, table_id);
    -- From here on its row looks like that of a table that this transaction has attached.
    PERFORM cache_sync_internal.note_known(table_id);
    PERFORM cache_sync_internal.as_of_now($statement$
        WITH att AS MATERIALIZED (SELECT a.* FROM cache_sync.attached a WHERE a.table_id = $1),
        drift AS MATERIALIZED (SELECT d.* FROM cache_sync_internal.field_drift($1) d),
        come AS (
            INSERT INTO cache_sync.field (table_id, field_id, attnum, name, rule)
            SELECT $1, row_number() OVER (ORDER BY d.attnum)
                       + (SELECT coalesce(max(f.field_id), 0) FROM cache_sync.field f WHERE f.table_id = $1), d.attnum, d.name,
                   coalesce((SELECT f.rule FROM cache_sync.field f WHERE f.table_id = $1 AND f.name = d.name
                             ORDER BY f.field_id DESC LIMIT 1),
                            CASE WHEN att.versioned THEN '"lww"' ELSE '"arrival"' END::jsonb)
            FROM att, drift d WHERE d.field_id IS NULL),
        gone AS (
            UPDATE cache_sync.field f SET dropped = true FROM drift d
            WHERE f.table_id = $1 AND f.field_id = d.field_id AND d.attnum IS NULL),
        moved AS (
            UPDATE cache_sync.field f SET attnum = d.attnum, name = d.name FROM drift d
            WHERE f.table_id = $1 AND f.field_id = d.field_id AND d.attnum IS NOT NULL)
        UPDATE cache_sync.attached a
        SET tags = n.tags, tag_attnums = n.attnums, rel_oid = a.tbl::oid,
            key = CASE WHEN a.rel_oid = a.tbl::oid THEN a.key ELSE cache_sync_internal.key_now(a.tbl) END
        FROM att, cache_sync_internal.tags_now(att) n
        WHERE a.table_id = $1
          AND (a.rel_oid <> a.tbl::oid OR (n.tags, n.attnums) IS DISTINCT FROM (a.tags, a.tag_attnums))
        $statement$, table_id);
END
$$;

-- What backends have read of these tables they keep until they are told to read again.
CREATE OR REPLACE FUNCTION cache_sync_internal.note_setup() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'note_setup';
CREATE OR REPLACE TRIGGER note_setup AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cache_sync.attached
    FOR EACH STATEMENT EXECUTE FUNCTION cache_sync_internal.note_setup();
CREATE OR REPLACE TRIGGER note_setup AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cache_sync.field
    FOR EACH STATEMENT EXECUTE FUNCTION cache_sync_internal.note_setup();
CREATE OR REPLACE TRIGGER note_setup AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cache_sync.secret
    FOR EACH STATEMENT EXECUTE FUNCTION cache_sync_internal.note_setup();
ALTER TABLE cache_sync.attached ENABLE ALWAYS TRIGGER note_setup;
ALTER TABLE cache_sync.field ENABLE ALWAYS TRIGGER note_setup;
ALTER TABLE cache_sync.secret ENABLE ALWAYS TRIGGER note_setup;

-- A row that a restore inserts comes from another database, where oids and numbers of columns were others, even if they
-- happen to be the same: its fields have yet to be matched.
CREATE OR REPLACE FUNCTION cache_sync_internal.unmatch() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.rel_oid := 0;
    NEW.key := NULL;
    NEW.rekeyed := false;
    NEW.tag_attnums := '{}';
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER unmatch BEFORE INSERT ON cache_sync.attached
    FOR EACH ROW EXECUTE FUNCTION cache_sync_internal.unmatch();
ALTER TABLE cache_sync.attached ENABLE ALWAYS TRIGGER unmatch;

-- Sessions first: that waits for batches under way, and then there are no more letters to come.
CREATE OR REPLACE FUNCTION cache_sync_internal.forget_rest() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM cache_sync_internal.as_of_now('DELETE FROM cache_sync.session s WHERE s.table_id = $1', OLD.table_id);
    PERFORM cache_sync_internal.as_of_now('DELETE FROM cache_sync.dead_letter d WHERE d.table_id = $1', OLD.table_id);
    PERFORM cache_sync_internal.as_of_now('DELETE FROM cache_sync.field f WHERE f.table_id = $1', OLD.table_id);
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER forget_rest AFTER DELETE ON cache_sync.attached
    FOR EACH ROW EXECUTE FUNCTION cache_sync_internal.forget_rest();
ALTER TABLE cache_sync.attached ENABLE ALWAYS TRIGGER forget_rest;

-- Tables that were dropped while attached: their oids may come back. What somebody else is forgetting is passed over.
CREATE OR REPLACE FUNCTION cache_sync_internal.forget_dropped() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT cache_sync_internal.as_of_now(
        'DELETE FROM cache_sync.attached a WHERE a.ctid = ANY (ARRAY(
             SELECT o.ctid FROM cache_sync.attached o WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = o.tbl)
             FOR UPDATE SKIP LOCKED))', 0)
$$;
