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

-- Brings the fields up to date with the table's columns. A dropped field keeps its number, which is never used again; a
-- column that takes its name has its rule: programs go on saying "+1" when they mean that name.
CREATE OR REPLACE FUNCTION cache_sync_internal.sync_fields(table_id integer) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att cache_sync.attached;
    drift record;
BEGIN
    SELECT a.* INTO att FROM cache_sync.attached a WHERE a.table_id = sync_fields.table_id;
    IF NOT FOUND OR (att.rel_oid = att.tbl::oid AND NOT EXISTS (SELECT FROM cache_sync_internal.field_drift(att.table_id))
                     AND NOT EXISTS (SELECT FROM cache_sync_internal.tags_now(att) n
                                     WHERE (n.tags, n.attnums) IS DISTINCT FROM (att.tags, att.tag_attnums))) THEN
        RETURN;
    END IF;
    SELECT a.* INTO att FROM cache_sync.attached a WHERE a.table_id = att.table_id FOR NO KEY UPDATE;
    UPDATE cache_sync.attached a SET tags = n.tags, tag_attnums = n.attnums FROM cache_sync_internal.tags_now(att) n
    WHERE a.table_id = att.table_id AND (n.tags, n.attnums) IS DISTINCT FROM (a.tags, a.tag_attnums);
    FOR drift IN SELECT d.* FROM cache_sync_internal.field_drift(att.table_id) d ORDER BY d.attnum LOOP
        IF drift.field_id IS NULL THEN
            INSERT INTO cache_sync.field (table_id, field_id, attnum, name, rule)
            SELECT att.table_id, coalesce(max(f.field_id), 0) + 1, drift.attnum, drift.name,
                   coalesce((array_agg(f.rule ORDER BY f.field_id DESC) FILTER (WHERE f.name = drift.name))[1],
                            CASE WHEN att.versioned THEN '"lww"' ELSE '"arrival"' END::jsonb)
            FROM cache_sync.field f WHERE f.table_id = att.table_id;
        ELSIF drift.attnum IS NULL THEN
            UPDATE cache_sync.field f SET dropped = true
            WHERE f.table_id = att.table_id AND f.field_id = drift.field_id;
        ELSE
            UPDATE cache_sync.field f SET attnum = drift.attnum, name = drift.name
            WHERE f.table_id = att.table_id AND f.field_id = drift.field_id;
        END IF;
    END LOOP;
    UPDATE cache_sync.attached a SET rel_oid = a.tbl::oid, key = cache_sync_internal.key_now(a.tbl)
    WHERE a.table_id = att.table_id AND a.rel_oid <> a.tbl::oid;
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
    DELETE FROM cache_sync.session s WHERE s.table_id = OLD.table_id;
    DELETE FROM cache_sync.dead_letter d WHERE d.table_id = OLD.table_id;
    DELETE FROM cache_sync.field f WHERE f.table_id = OLD.table_id;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER forget_rest AFTER DELETE ON cache_sync.attached
    FOR EACH ROW EXECUTE FUNCTION cache_sync_internal.forget_rest();
ALTER TABLE cache_sync.attached ENABLE ALWAYS TRIGGER forget_rest;

-- Tables that were dropped while attached: their oids may come back.
CREATE OR REPLACE FUNCTION cache_sync_internal.forget_dropped() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM cache_sync.attached a WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = a.tbl)
$$;
