-- Types of columns: what is under them, how they are hashed and written.

-- The type under a domain, or the type itself.
CREATE OR REPLACE FUNCTION cache_sync_internal.base_type(type oid) RETURNS oid
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE base AS (
        SELECT t.oid, t.typtype, t.typbasetype FROM pg_type t WHERE t.oid = base_type.type
        UNION ALL
        SELECT t.oid, t.typtype, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.typbasetype WHERE b.typtype = 'd'
    )
    SELECT b.oid FROM base b WHERE b.typtype <> 'd'
$$;

-- The type of an array's elements; null for what is no array, and for those of the catalogs, which are arrays of one form only.
CREATE OR REPLACE FUNCTION cache_sync_internal.element_type(type oid) RETURNS oid
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.typelem FROM pg_type t
    WHERE t.oid = element_type.type AND t.typsubscript = 'array_subscript_handler'::regproc
      AND t.oid NOT IN ('oidvector'::regtype, 'int2vector'::regtype)
$$;

-- How a key column of this type is hashed; null for types whose equal values may differ in their bytes, and for domains
-- over enums, which Postgres cannot compare.
CREATE OR REPLACE FUNCTION cache_sync_internal.key_kind(type oid) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN t.typtype = 'e' AND t.oid = key_kind.type THEN 'enum'
        WHEN t.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'int'
        WHEN t.oid IN ('text'::regtype, 'varchar'::regtype) THEN 'text'
        WHEN t.oid = 'bytea'::regtype THEN 'bytes'
        WHEN t.oid = 'uuid'::regtype THEN 'uuid'
        WHEN t.oid = 'bool'::regtype THEN 'bool'
        WHEN t.oid = 'date'::regtype THEN 'date'
        WHEN t.oid IN ('timestamp'::regtype, 'timestamptz'::regtype) THEN 'timestamp'
    END
    FROM pg_type t WHERE t.oid = cache_sync_internal.base_type(key_kind.type)
$$;

-- How the values of a tag are hashed: the word for a key's column, or the list of those of a composite's parts; null for types
-- whose equal values may differ in their bytes.
CREATE OR REPLACE FUNCTION cache_sync_internal.tag_kind(type oid, colloid oid) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    base pg_type;
    part record;
    kinds jsonb := '[]';
BEGIN
    IF NOT coalesce((SELECT c.collisdeterministic FROM pg_collation c WHERE c.oid = colloid), true) THEN
        RETURN NULL;
    ELSIF cache_sync_internal.key_kind(type) IS NOT NULL THEN
        RETURN to_jsonb(cache_sync_internal.key_kind(type));
    END IF;
    SELECT t.* INTO base FROM pg_type t WHERE t.oid = cache_sync_internal.base_type(type);
    IF base.typtype <> 'c' THEN
        RETURN NULL;
    END IF;
    FOR part IN SELECT cache_sync_internal.tag_kind(a.atttypid, a.attcollation) AS kind FROM pg_attribute a
                WHERE a.attrelid = base.typrelid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
    LOOP
        IF part.kind IS NULL THEN
            RETURN NULL;
        END IF;
        kinds := kinds || jsonb_build_array(part.kind);
    END LOOP;
    RETURN kinds;
END
$$;

-- A type by its name in the catalogs, qualified.
CREATE OR REPLACE FUNCTION cache_sync_internal.type_name(type oid) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT quote_ident(n.nspname) || '.' || quote_ident(t.typname)
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = type_name.type
$$;

-- A type with its modifier (-1: none), written so that it is the same one whatever the search_path of who reads it.
CREATE OR REPLACE FUNCTION cache_sync_internal.qualified_type(type oid, modifier integer) RETURNS text
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'qualified_type';

-- A column's type with modifier and collation.
CREATE OR REPLACE FUNCTION cache_sync_internal.declared(a pg_attribute) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT cache_sync_internal.qualified_type(a.atttypid, a.atttypmod)
        || coalesce((SELECT format(' COLLATE %I.%I', n.nspname, c.collname)
                     FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = a.attcollation), '')
$$;

