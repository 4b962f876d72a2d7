-- A table in the catalogs: its key, its fields, its partitions, our own columns.

-- The columns of the primary key, in its order.
CREATE OR REPLACE FUNCTION cache_sync_internal.key_columns(tbl regclass) RETURNS TABLE (ord bigint, attnum smallint)
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.ord, k.attnum
    FROM pg_index i, unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, ord)
    WHERE i.indrelid = key_columns.tbl AND i.indisprimary AND k.ord <= i.indnkeyatts
$$;

-- What the hash of a key depends on: another list, and a client that has the table open would look for other keys than
-- the feed tells.
CREATE OR REPLACE FUNCTION cache_sync_internal.key_now(tbl regclass) RETURNS text[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(a.attnum || ' ' || CASE
        WHEN cache_sync_internal.base_type(a.atttypid) = 'timestamptz'::regtype THEN 'timestamptz'
        ELSE coalesce(cache_sync_internal.key_kind(a.atttypid), 'other') END ORDER BY k.ord)
    FROM cache_sync_internal.key_columns(key_now.tbl) k
    JOIN pg_attribute a ON a.attrelid = key_now.tbl AND a.attnum = k.attnum
$$;

-- The columns that are fields: all but those of the key and our own.
CREATE OR REPLACE FUNCTION cache_sync_internal.field_columns(tbl regclass) RETURNS SETOF pg_attribute
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.* FROM pg_attribute a
    WHERE a.attrelid = field_columns.tbl AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attname NOT IN ('cs_version', 'cs_clock')
      AND a.attnum NOT IN (SELECT k.attnum FROM cache_sync_internal.key_columns(field_columns.tbl) k)
$$;

-- The table and all its partitions. It locks none of them, as pg_partition_tree() does: DDL of one table must not wait for
-- another. Level by level, because the planner cannot know how few those are, and would read whole catalogs.
CREATE OR REPLACE FUNCTION cache_sync_internal.relations(tbl regclass) RETURNS TABLE (relid regclass)
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    divided oid[] := ARRAY(SELECT p.partrelid FROM pg_partitioned_table p WHERE p.partrelid = tbl);
    parent oid;
    child record;
BEGIN
    relid := tbl;
    RETURN NEXT;
    WHILE divided <> '{}' LOOP
        parent := divided[1];
        divided := divided[2:];
        FOR child IN
            SELECT c.oid, c.relkind FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = parent AND c.relispartition AND c.relkind IN ('r', 'p', 'f') AND NOT i.inhdetachpending
        LOOP
            relid := child.oid;
            RETURN NEXT;
            IF child.relkind = 'p' THEN
                divided := divided || child.oid;
            END IF;
        END LOOP;
    END LOOP;
END
$$;

-- Those that the table has of the two columns of a versioned one.
CREATE OR REPLACE FUNCTION cache_sync_internal.own_columns(tbl regclass) RETURNS name[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = own_columns.tbl AND NOT a.attisdropped
      AND (a.attname, a.atttypid) IN (('cs_version', 'int8'::regtype), ('cs_clock', 'bytea'::regtype))
$$;

-- Whether the table has the two columns of a versioned one.
CREATE OR REPLACE FUNCTION cache_sync_internal.has_own_columns(tbl regclass) RETURNS boolean
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(cardinality(cache_sync_internal.own_columns(tbl)), 0) = 2
$$;

-- Columns whose default is the clock, as attach makes it and CREATE TABLE ... (LIKE ...) copies it; of one table, or of all.
CREATE OR REPLACE FUNCTION cache_sync_internal.version_defaults(tbl regclass DEFAULT NULL) RETURNS TABLE (relid regclass, attname name)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.adrelid::regclass, a.attname
    FROM pg_depend p
    JOIN pg_attrdef d ON d.oid = p.objid
    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE p.classid = 'pg_attrdef'::regclass AND p.refclassid = 'pg_proc'::regclass AND p.refobjid = 'cache_sync.hlc'::regproc
      AND (version_defaults.tbl IS NULL OR d.adrelid = version_defaults.tbl)
      AND pg_get_expr(d.adbin, d.adrelid) = 'cache_sync.hlc()'
$$;

-- Whether rows that are inserted get a version.
CREATE OR REPLACE FUNCTION cache_sync_internal.has_version_default(tbl regclass) RETURNS boolean
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE d.adrelid = has_version_default.tbl AND a.attname = 'cs_version'
          AND pg_get_expr(d.adbin, d.adrelid) = 'cache_sync.hlc()')
$$;
