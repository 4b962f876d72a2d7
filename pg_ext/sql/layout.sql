-- What the library and the SDK are told of an attached table.

CREATE OR REPLACE FUNCTION cache_sync_internal.layout_fields(att cache_sync.attached) RETURNS jsonb
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'id', f.field_id, 'name', a.attname, 'column', quote_ident(a.attname), 'type', a.atttypid::bigint,
        'type_name', cache_sync_internal.type_name(a.atttypid), 'declared', cache_sync_internal.declared(a),
        'change', CASE WHEN b.word = 'union' THEN 'pg_catalog.jsonb'
                       WHEN b.base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'bigint'
                       ELSE cache_sync_internal.qualified_type(b.base, -1) END,
        'rule', cache_sync_internal.check_rule(f.rule, a.atttypid, att.versioned OR a.attgenerated <> '', a.attname),
        'is_array', cache_sync_internal.element_type(b.base) IS NOT NULL,
        'is_plain', cache_sync_internal.element_type(b.base) IS NULL AND b.typtype <> 'c'
            AND b.base NOT IN ('oidvector'::regtype, 'int2vector'::regtype),
        'function', CASE WHEN b.word = 'function' THEN cache_sync_internal.function_facts(f.rule ->> 'name') END,
        'generated', a.attgenerated <> '' OR a.attidentity = 'a',
        'not_null', a.attnotnull,
        'exact', CASE WHEN b.base IN ('text'::regtype, 'varchar'::regtype) THEN b.typmod = -1 AND b.word IN ('lww', 'arrival')
                      WHEN b.base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
                          THEN b.word IN ('lww', 'arrival', 'add', 'max', 'min')
                      ELSE (b.base IN ('bool'::regtype, 'float8'::regtype) OR b.typtype = 'e') AND b.word IN ('lww', 'arrival')
                 END) ORDER BY f.field_id), '[]')
      FROM cache_sync.field f
      JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attnum = f.attnum
      CROSS JOIN LATERAL (
        SELECT t.oid AS base, t.typtype, coalesce(f.rule ->> 'rule', f.rule #>> '{}') AS word,
               CASE WHEN t.oid = a.atttypid THEN a.atttypmod
                    ELSE (SELECT d.typtypmod FROM pg_type d WHERE d.oid = a.atttypid) END AS typmod
        FROM pg_type t WHERE t.oid = cache_sync_internal.base_type(a.atttypid)) b
     WHERE f.table_id = att.table_id AND NOT f.dropped
$$;

-- What the library compiles statements from. Names and types that go into SQL texts come quoted and qualified.
CREATE OR REPLACE FUNCTION cache_sync_internal.layout(tbl regclass) RETURNS jsonb
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att cache_sync.attached := cache_sync_internal.attached_row(
        tbl, format('SELECT cache_sync.attach(%L); a partition is attached with its whole table.', tbl));
BEGIN
    PERFORM cache_sync_internal.sync_fields(att.table_id);
    PERFORM cache_sync_internal.refuse_columns(att.tbl, att.versioned);
    PERFORM cache_sync_internal.refuse_key(att);
    IF att.versioned AND NOT cache_sync_internal.has_own_columns(att.tbl) THEN
        RAISE EXCEPTION '% lacks cs_version or cs_clock', att.tbl USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('SELECT cache_sync.repair(%L);', att.tbl);
    END IF;
    RETURN jsonb_build_object(
        'table_id', att.table_id, 'relation', att.tbl::text, 'versioned', att.versioned,
        'fields', cache_sync_internal.layout_fields(att),
        'key', (SELECT jsonb_agg(jsonb_build_object(
                    'name', a.attname, 'column', quote_ident(a.attname), 'type', a.atttypid::bigint,
                    'type_name', cache_sync_internal.type_name(a.atttypid), 'kind', cache_sync_internal.key_kind(a.atttypid),
                    'declared', cache_sync_internal.declared(a),
                    'modifier', CASE WHEN cache_sync_internal.base_type(a.atttypid) = a.atttypid THEN a.atttypmod
                                     ELSE (SELECT d.typtypmod FROM pg_type d WHERE d.oid = a.atttypid) END,
                    'order', CASE WHEN a.attcollation <> 0 THEN ' COLLATE pg_catalog."C"' ELSE '' END) ORDER BY k.ord)
                FROM cache_sync_internal.key_columns(att.tbl) k
                JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attnum = k.attnum),
        'identity', EXISTS (SELECT FROM cache_sync_internal.key_columns(att.tbl) k
                            JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attnum = k.attnum
                            WHERE a.attidentity = 'a'),
        'coerced', EXISTS (SELECT FROM pg_attribute a
                           WHERE a.attrelid = att.tbl AND a.attgenerated <> '' AND NOT a.attisdropped)
                OR EXISTS (SELECT FROM pg_trigger t JOIN cache_sync_internal.relations(att.tbl) r ON r.relid = t.tgrelid
                           WHERE t.tgtype & 3 = 3 AND t.tgtype & 20 <> 0 AND t.tgenabled <> 'D'
                             AND t.tgfoid <> 'cache_sync.set_version'::regproc),
        'tags', (SELECT jsonb_agg(jsonb_build_object(
                     'name', t.name, 'kind', cache_sync_internal.tag_kind(a.atttypid, a.attcollation)) ORDER BY t.ord)
                 FROM unnest(att.tags) WITH ORDINALITY AS t (name, ord)
                 JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attname = t.name AND a.attnum > 0 AND NOT a.attisdropped),
        'expires', (SELECT quote_ident(a.attname) FROM cache_sync.field f
                    JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attnum = f.attnum
                    WHERE f.table_id = att.table_id AND f.field_id = att.expires AND NOT f.dropped),
        'relations', (SELECT jsonb_agg(r.relid::oid::bigint) FROM cache_sync_internal.relations(att.tbl) r));
END
$$;

-- What the SDK asks of a table; see docs/design.md.
CREATE OR REPLACE FUNCTION cache_sync_internal.description(tbl regclass) RETURNS jsonb
    LANGUAGE sql STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object(
        'table_id', l -> 'table_id', 'schema', n.nspname, 'name', c.relname, 'versioned', l -> 'versioned',
        'hash_key', encode(cache_sync_internal.table_secret((l ->> 'table_id')::integer), 'hex'),
        'epoch', cache_sync.epoch(), 'preloaded', cache_sync_internal.is_preloaded(),
        'key', (SELECT jsonb_agg(k - '{column,declared,order}'::text[] ORDER BY ord)
                FROM jsonb_array_elements(l -> 'key') WITH ORDINALITY AS k (k, ord)),
        'expires', l -> 'expires', 'tags', l -> 'tags',
        'fields', (SELECT coalesce(jsonb_agg(
                       f - '{column,declared,change,exact,is_array,is_plain,function}'::text[] ORDER BY ord), '[]')
                   FROM jsonb_array_elements(l -> 'fields') WITH ORDINALITY AS f (f, ord)))
    FROM cache_sync_internal.layout(description.tbl) l, pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = description.tbl
$$;

CREATE OR REPLACE FUNCTION cache_sync.describe(tbl regclass) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'describe';
COMMENT ON FUNCTION cache_sync.describe IS 'All about the key and the fields of a table that you may SELECT, as JSON.';

