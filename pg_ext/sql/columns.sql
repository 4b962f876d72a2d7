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
-- another.
CREATE OR REPLACE FUNCTION cache_sync_internal.relations(tbl regclass) RETURNS TABLE (relid regclass)
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE tree (relid) AS (
        SELECT relations.tbl::oid
        UNION
        SELECT i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.relid JOIN pg_class c ON c.oid = i.inhrelid
        WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f') AND NOT i.inhdetachpending)
    SELECT t.relid::regclass FROM tree t
$$;

-- Whether the table has the two columns of a versioned one.
CREATE OR REPLACE FUNCTION cache_sync_internal.has_own_columns(tbl regclass) RETURNS boolean
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*) = 2 FROM pg_attribute a
    WHERE a.attrelid = has_own_columns.tbl AND NOT a.attisdropped
      AND (a.attname, a.atttypid) IN (('cs_version', 'int8'::regtype), ('cs_clock', 'bytea'::regtype))
$$;

-- Whether rows that are inserted get a version.
CREATE OR REPLACE FUNCTION cache_sync_internal.has_version_default(tbl regclass) RETURNS boolean
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE d.adrelid = has_version_default.tbl AND a.attname = 'cs_version'
          AND pg_get_expr(d.adbin, d.adrelid) = 'cache_sync.hlc()')
$$;

