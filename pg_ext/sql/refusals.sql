-- What is refused: tables that cannot be attached as they are, and those that are not attached.

-- The table's row in `attached`.
CREATE OR REPLACE FUNCTION cache_sync_internal.attached_row(tbl regclass, hint text DEFAULT NULL) RETURNS cache_sync.attached
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att cache_sync.attached;
BEGIN
    SELECT a.* INTO att FROM cache_sync.attached a WHERE a.tbl = attached_row.tbl;
    IF FOUND THEN
        RETURN att;
    ELSIF hint IS NOT NULL THEN
        RAISE EXCEPTION '% is not attached', tbl USING ERRCODE = 'CS005', HINT = hint;
    END IF;
    RAISE EXCEPTION '% is not attached', tbl USING ERRCODE = 'CS005';
END
$$;

-- Whether the table is attached by now, and if so versioned.
CREATE OR REPLACE FUNCTION cache_sync_internal.attached_versioned(tbl regclass) RETURNS boolean
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT cache_sync_internal.as_of_now(
        'SELECT to_jsonb(a.versioned) FROM cache_sync.attached a WHERE a.tbl = $1::oid', tbl::oid::integer)::boolean
$$;

-- Raises when the primary key is not the one that the table was attached with.
CREATE OR REPLACE FUNCTION cache_sync_internal.refuse_key(att cache_sync.attached) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF att.rel_oid = att.tbl::oid AND att.key <> cache_sync_internal.key_now(att.tbl) THEN
        RAISE EXCEPTION 'the primary key of % is not the one that it was attached with', att.tbl
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Clients that have the table open know its rows by the key of before.',
                  HINT = format('Detach the table and attach it again, with its rules: SELECT cache_sync.detach(%L);', att.tbl);
    END IF;
END
$$;

-- Raises when the table's columns are not such that it can be attached.
CREATE OR REPLACE FUNCTION cache_sync_internal.refuse_columns(tbl regclass, versioned boolean) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    col record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = tbl AND i.indisprimary) THEN
        RAISE EXCEPTION '% has no primary key', tbl
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Add one: rows are known by their key.';
    ELSIF EXISTS (SELECT FROM pg_index i WHERE i.indrelid = tbl AND i.indisprimary AND NOT i.indimmediate) THEN
        RAISE EXCEPTION 'the primary key of % is deferrable', tbl
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'ON CONFLICT cannot use it; make it NOT DEFERRABLE.';
    END IF;
    FOR col IN
        SELECT a.attname, a.atttypid, a.attcollation, l.collisdeterministic, k.attnum IS NOT NULL AS is_key, a.attgenerated
        FROM pg_attribute a
        LEFT JOIN cache_sync_internal.key_columns(tbl) k ON k.attnum = a.attnum
        LEFT JOIN pg_collation l ON l.oid = a.attcollation
        WHERE a.attrelid = tbl AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
        IF col.attname IN ('#', '=') OR col.attname LIKE '@%' THEN
            RAISE EXCEPTION 'the column "%" of % has a name that patches use for something else', col.attname, tbl
                USING ERRCODE = 'invalid_name', HINT = 'Rename it: no "#" or "=", and no "@" at the beginning.';
        ELSIF versioned AND ((col.attname = 'cs_version' AND col.atttypid <> 'int8'::regtype)
                             OR (col.attname = 'cs_clock' AND col.atttypid <> 'bytea'::regtype)) THEN
            RAISE EXCEPTION 'the column % of % is of type %', col.attname, tbl, format_type(col.atttypid, NULL)
                USING ERRCODE = 'datatype_mismatch', HINT = 'A versioned table needs this name for itself: rename yours.';
        ELSIF NOT col.is_key THEN
            CONTINUE;
        ELSIF col.attname IN ('cs_version', 'cs_clock') THEN
            RAISE EXCEPTION 'the key of % contains %', tbl, col.attname
                USING ERRCODE = 'invalid_name', HINT = 'A versioned table needs this name for itself: rename yours.';
        ELSIF cache_sync_internal.key_kind(col.atttypid) IS NULL THEN
            RAISE EXCEPTION 'the key column "%" of % is of type %, which cannot be part of a key', col.attname, tbl,
                format_type(col.atttypid, NULL)
                USING ERRCODE = 'feature_not_supported',
                      DETAIL = CASE WHEN (SELECT t.typtype = 'e' FROM pg_type t
                                         WHERE t.oid = cache_sync_internal.base_type(col.atttypid))
                                   THEN 'Postgres has no operator = for domains over enums.'
                                   ELSE 'Values of this type may be equal without being the same to the byte.' END,
                      HINT = 'Keys may be integers, text, varchar, uuid, bytea, boolean, date, timestamp, timestamptz and enums.';
        ELSIF NOT col.collisdeterministic THEN
            RAISE EXCEPTION 'the key column "%" of % has a nondeterministic collation', col.attname, tbl
                USING ERRCODE = 'feature_not_supported',
                      DETAIL = 'Values may be equal without being the same to the byte.',
                      HINT = 'Give the column a deterministic collation.';
        END IF;
    END LOOP;
END
$$;

-- Raises when one of the columns cannot be a tag.
CREATE OR REPLACE FUNCTION cache_sync_internal.refuse_tags(tbl regclass, tags name[]) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tag name;
    col pg_attribute;
BEGIN
    IF array_ndims(tags) > 1 THEN
        RAISE EXCEPTION 'tags must be an array of one dimension' USING ERRCODE = 'array_subscript_error';
    ELSIF cardinality(tags) > 32 THEN
        RAISE EXCEPTION '% has % tags, of 32 at most', tbl, cardinality(tags) USING ERRCODE = 'program_limit_exceeded';
    ELSIF (SELECT count(DISTINCT t) < count(t) FROM unnest(tags) t) THEN
        RAISE EXCEPTION 'a tag of % is named twice', tbl USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOREACH tag IN ARRAY tags LOOP
        SELECT a.* INTO col FROM pg_attribute a
        WHERE a.attrelid = tbl AND a.attname = tag AND a.attnum > 0 AND NOT a.attisdropped;
        IF NOT FOUND THEN
            RAISE EXCEPTION '% has no column "%" for a tag', tbl, tag USING ERRCODE = 'undefined_column';
        ELSIF col.attgenerated = 'v' THEN
            RAISE EXCEPTION 'the column "%" of % is virtual and cannot be a tag', tag, tbl
                USING ERRCODE = 'feature_not_supported', HINT = 'Make it STORED: triggers do not see its values.';
        ELSIF cache_sync_internal.tag_kind(col.atttypid, col.attcollation) IS NULL THEN
            RAISE EXCEPTION 'the column "%" of % is of type %, which cannot be a tag', tag, tbl, format_type(col.atttypid, NULL)
                USING ERRCODE = 'feature_not_supported',
                      DETAIL = 'Values of this type, or in its collation, may be equal without being the same to the byte.',
                      HINT = 'Tags may be of the types that keys may be of, and of composites of these.';
        END IF;
    END LOOP;
END
$$;

-- Raises when the table is not such that it can be attached.
CREATE OR REPLACE FUNCTION cache_sync_internal.refuse_table(tbl regclass, versioned boolean, tags name[]) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rel pg_class;
    part regclass;
BEGIN
    SELECT c.* INTO rel FROM pg_class c WHERE c.oid = tbl;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no table with the oid %', tbl::oid USING ERRCODE = 'undefined_table';
    ELSIF getdatabaseencoding() <> 'UTF8' THEN
        RAISE EXCEPTION 'the database has the encoding %', getdatabaseencoding()
            USING ERRCODE = 'feature_not_supported', HINT = 'cache_sync needs a database with the encoding UTF8.';
    ELSIF rel.relkind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is not a table', tbl
            USING ERRCODE = 'wrong_object_type', HINT = 'Views and foreign tables cannot be attached; attach the table behind it.';
    ELSIF rel.relnamespace IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace, 'information_schema'::regnamespace,
                               'cache_sync'::regnamespace, 'cache_sync_internal'::regnamespace) THEN
        RAISE EXCEPTION '% belongs to the system', tbl
            USING ERRCODE = 'wrong_object_type', HINT = 'Attach tables of your own.';
    ELSIF rel.relpersistence = 't' THEN
        RAISE EXCEPTION '% is a temporary table', tbl
            USING ERRCODE = 'wrong_object_type', HINT = 'Nobody else sees its rows: there is nothing to keep in step.';
    ELSIF rel.relispartition THEN
        RAISE EXCEPTION '% is a partition', tbl
            USING ERRCODE = 'wrong_object_type',
                  HINT = format('Attach the whole table: SELECT cache_sync.attach(%L).', pg_partition_root(tbl));
    ELSIF rel.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE tbl IN (i.inhrelid, i.inhparent)) THEN
        RAISE EXCEPTION '% inherits, or is inherited from', tbl
            USING ERRCODE = 'wrong_object_type', HINT = 'A key does not identify one row there; use declarative partitioning.';
    ELSIF EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = tbl AND r.ev_type IN ('2', '3', '4')) THEN
        RAISE EXCEPTION '% has rules that rewrite writes', tbl
            USING ERRCODE = 'feature_not_supported', HINT = 'Use triggers.';
    END IF;
    SELECT a.tbl INTO part
    FROM cache_sync.attached a JOIN cache_sync_internal.relations(refuse_table.tbl) r ON r.relid = a.tbl
    WHERE a.tbl <> refuse_table.tbl LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the partition % of % is attached by itself', part, tbl
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('SELECT cache_sync.detach(%L) first: partitions are attached with their whole table.', part);
    END IF;
    PERFORM cache_sync_internal.refuse_columns(tbl, versioned);
    PERFORM cache_sync_internal.refuse_tags(tbl, tags);
END
$$;

