-- Upgrades cache_sync 0.1.0 to 0.2.0. What changed stands here as it does in the install script.
\echo Use "ALTER EXTENSION cache_sync UPDATE" to load this file. \quit

SET LOCAL search_path = pg_catalog, pg_temp;

ALTER TABLE cache_sync.attached
    ADD COLUMN expires smallint, ADD COLUMN key text[], ADD COLUMN rekeyed boolean NOT NULL DEFAULT false,
    ADD COLUMN tag_attnums smallint[] NOT NULL DEFAULT '{}';
ALTER TABLE cache_sync.field DROP CONSTRAINT field_table_id_fkey;
ALTER TABLE cache_sync.session DROP CONSTRAINT session_table_id_fkey;
ALTER TABLE cache_sync.dead_letter DROP CONSTRAINT dead_letter_table_id_fkey;
ALTER TABLE cache_sync.dead_letter ADD COLUMN shape jsonb, ADD COLUMN hlc bigint;

DROP FUNCTION cache_sync.check_rule(jsonb, oid, boolean, name);
DROP FUNCTION cache_sync.apply(regclass, uuid, bigint, bigint, jsonb, json[]);
DROP VIEW cache_sync.tables;
DROP VIEW cache_sync.dead_letters;

CREATE OR REPLACE FUNCTION cache_sync.versions(OUT library text, OUT script text, OUT protocol integer)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT version, '0.2.0', protocol FROM cache_sync.library() $$;

-- How changes are told: 'stream' from shared memory, 'notify' by NOTIFY.
CREATE FUNCTION cache_sync.feed_kind() RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'feed_kind';

-- How a key column of this type is hashed; null for types whose equal values may differ in their bytes, and for domains
-- over enums, which Postgres cannot compare.
CREATE OR REPLACE FUNCTION cache_sync.key_kind(type oid) RETURNS text
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
    FROM pg_type t WHERE t.oid = cache_sync.base_type(key_kind.type)
$$;

-- What the hash of a key depends on: another list, and a client that has the table open would look for other keys than
-- the feed tells.
CREATE FUNCTION cache_sync.key_now(tbl regclass) RETURNS text[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(a.attnum || ' ' || CASE WHEN cache_sync.base_type(a.atttypid) = 'timestamptz'::regtype THEN 'timestamptz'
                                             ELSE coalesce(cache_sync.key_kind(a.atttypid), 'other') END ORDER BY k.ord)
    FROM cache_sync.key_columns(key_now.tbl) k JOIN pg_attribute a ON a.attrelid = key_now.tbl AND a.attnum = k.attnum
$$;

-- The one spelling of a rule; an error says what is wrong with others.
CREATE FUNCTION cache_sync.spelled(rule jsonb) RETURNS jsonb
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'spelled';

-- Raises when what is named is no function of two values of a type that returns a third.
CREATE FUNCTION cache_sync.check_function(name text, type oid, field name) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    proc pg_proc;
    base oid := cache_sync.base_type(type);
    shown text := format_type(type, NULL);
BEGIN
    SELECT p.* INTO proc FROM pg_proc p WHERE p.oid = to_regprocedure(name);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no function % (field "%")', name, field
            USING ERRCODE = 'undefined_function',
                  HINT = format('Name one with its schema and types, such as "public.merged(%1$s,%1$s)".', shown);
    ELSIF proc.prokind <> 'f' OR proc.proretset OR proc.pronargs <> 2 OR proc.proargtypes[0] <> proc.proargtypes[1]
        OR proc.prorettype <> proc.proargtypes[0] OR proc.proargtypes[0] NOT IN (type, base) THEN
        RAISE EXCEPTION 'the function % cannot merge field "%" of type %', name, field, shown
            USING ERRCODE = 'datatype_mismatch',
                  HINT = format('It must take two values of type %1$s, the current and the incoming one, and return one of type %1$s.', shown);
    ELSIF proc.pronamespace = pg_my_temp_schema() OR pg_is_other_temp_schema(proc.pronamespace) THEN
        RAISE EXCEPTION 'the function % is a temporary one (field "%")', name, field
            USING ERRCODE = 'invalid_object_definition',
                  HINT = 'Who writes the field runs the function, also when another session has put one of its own in this place.';
    ELSIF proc.provolatile <> 'i' THEN
        RAISE EXCEPTION 'the function % is not immutable (field "%")', name, field
            USING ERRCODE = 'invalid_object_definition',
                  HINT = 'A merge may be computed more than once; declare the function IMMUTABLE if it only looks at its arguments.';
    END IF;
END
$$;

-- A rule as it is kept, once it is sure that it may stand on a column of this type.
CREATE FUNCTION cache_sync.check_rule(rule jsonb, type oid, versioned boolean, field name) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    spelled jsonb;
    word text;
    base oid := cache_sync.base_type(type);
    element oid;
    shown text := format_type(type, NULL);
    hint text;
BEGIN
    BEGIN
        spelled := cache_sync.spelled(rule);
    EXCEPTION WHEN invalid_parameter_value THEN
        GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
        RAISE EXCEPTION '% (field "%")', SQLERRM, field USING ERRCODE = 'invalid_parameter_value', HINT = hint;
    END;
    word := CASE jsonb_typeof(spelled) WHEN 'string' THEN spelled #>> '{}' ELSE spelled ->> 'rule' END;
    IF word IN ('lww', 'first', 'json') AND NOT versioned THEN
        RAISE EXCEPTION 'the rule % of field "%" needs a versioned table', word, field
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Attach the table with versioned => true, or take "arrival".';
    ELSIF word = 'add' AND base IN ('real'::regtype, 'double precision'::regtype) THEN
        RAISE EXCEPTION 'the rule add cannot stand on field "%" of type %', field, shown
            USING ERRCODE = 'datatype_mismatch', DETAIL = 'A sum of floats depends on the order of the additions.',
                  HINT = 'Make the column numeric.';
    ELSIF word = 'add' AND base NOT IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype,
                                        'interval'::regtype) THEN
        RAISE EXCEPTION 'the rule add cannot stand on field "%" of type %', field, shown
            USING ERRCODE = 'datatype_mismatch', HINT = 'It needs an integer, a numeric or an interval.';
    ELSIF word IN ('max', 'min') THEN
        BEGIN
            -- Of the base type: a cast to a domain would run its checks, which are a user's, as owner of the extension.
            EXECUTE format('SELECT greatest(NULL::%1$s, NULL::%1$s)', format_type(base, NULL));
        EXCEPTION WHEN undefined_function THEN
            RAISE EXCEPTION 'the rule % cannot stand on field "%" of type %', word, field, shown
                USING ERRCODE = 'datatype_mismatch', HINT = 'It needs a type with an order.';
        END;
    ELSIF word IN ('append', 'union') AND base <> 'jsonb'::regtype THEN
        element := cache_sync.element_type(base);
        IF element IS NULL THEN
            RAISE EXCEPTION 'the rule % cannot stand on field "%" of type %', word, field, shown
                USING ERRCODE = 'datatype_mismatch', HINT = 'It needs an array or a jsonb.';
        ELSIF word = 'union' AND (SELECT t.typtype = 'c' FROM pg_type t WHERE t.oid = cache_sync.base_type(element)) THEN
            RAISE EXCEPTION 'the rule union cannot stand on field "%" of type %', field, shown
                USING ERRCODE = 'datatype_mismatch', HINT = 'The elements of a set must not be rows; take a jsonb.';
        END IF;
    ELSIF word = 'json' AND base <> 'jsonb'::regtype THEN
        RAISE EXCEPTION 'the rule json cannot stand on field "%" of type %', field, shown
            USING ERRCODE = 'datatype_mismatch', HINT = 'It needs a jsonb.';
    ELSIF word = 'function' THEN
        PERFORM cache_sync.check_function(spelled ->> 'name', type, field);
    END IF;
    RETURN spelled;
END
$$;

-- Names the function of a rule so that everybody finds the same one, whatever their search_path; runs with the caller's.
CREATE FUNCTION cache_sync.resolved(rule jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    proc pg_catalog.regprocedure;
BEGIN
    IF pg_catalog.jsonb_typeof(rule) OPERATOR(pg_catalog.<>) 'object'
        OR rule OPERATOR(pg_catalog.->>) 'rule' OPERATOR(pg_catalog.<>) 'function' THEN
        RETURN rule;
    ELSIF rule OPERATOR(pg_catalog.->>) 'name' OPERATOR(pg_catalog.!~) '\(.*\)\s*$' THEN
        RAISE EXCEPTION 'the function % of a rule must be named with its types', rule OPERATOR(pg_catalog.->>) 'name'
            USING ERRCODE = 'invalid_text_representation', HINT = 'For example "public.merged(integer,integer)".';
    END IF;
    proc := pg_catalog.to_regprocedure(rule OPERATOR(pg_catalog.->>) 'name');
    RETURN CASE WHEN proc IS NULL THEN rule ELSE pg_catalog.jsonb_set(
        rule, '{name}', pg_catalog.to_jsonb(cache_sync.signature(proc::pg_catalog.oid))) END;
END
$$;

CREATE FUNCTION cache_sync.resolved_all(rules jsonb) RETURNS jsonb
    LANGUAGE sql STABLE STRICT AS $$
    SELECT CASE WHEN pg_catalog.jsonb_typeof(rules) OPERATOR(pg_catalog.=) 'object' THEN
        (SELECT coalesce(pg_catalog.jsonb_object_agg(r.key, cache_sync.resolved(r.value)), '{}')
         FROM pg_catalog.jsonb_each(rules) r) ELSE rules END
$$;

CREATE FUNCTION cache_sync.signature(proc oid) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$ SELECT proc::regprocedure::text $$;

-- The type of an array's elements; null for what is no array, and for those of the catalogs, which are arrays of one form only.
CREATE FUNCTION cache_sync.element_type(type oid) RETURNS oid
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.typelem FROM pg_type t
    WHERE t.oid = element_type.type AND t.typsubscript = 'array_subscript_handler'::regproc
      AND t.oid NOT IN ('oidvector'::regtype, 'int2vector'::regtype)
$$;

-- The columns of the tags: by number in the same table, in a restored one by name. A column that is gone leaves its name to
-- one that is added later.
CREATE FUNCTION cache_sync.tags_now(att cache_sync.attached, OUT tags name[], OUT attnums smallint[])
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
CREATE OR REPLACE FUNCTION cache_sync.sync_fields(table_id integer) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att cache_sync.attached;
    drift record;
BEGIN
    SELECT a.* INTO att FROM cache_sync.attached a WHERE a.table_id = sync_fields.table_id;
    IF NOT FOUND OR (att.rel_oid = att.tbl::oid AND NOT EXISTS (SELECT FROM cache_sync.field_drift(att.table_id))
                     AND NOT EXISTS (SELECT FROM cache_sync.tags_now(att) n
                                     WHERE (n.tags, n.attnums) IS DISTINCT FROM (att.tags, att.tag_attnums))) THEN
        RETURN;
    END IF;
    SELECT a.* INTO att FROM cache_sync.attached a WHERE a.table_id = att.table_id FOR NO KEY UPDATE;
    UPDATE cache_sync.attached a SET tags = n.tags, tag_attnums = n.attnums FROM cache_sync.tags_now(att) n
    WHERE a.table_id = att.table_id AND (n.tags, n.attnums) IS DISTINCT FROM (a.tags, a.tag_attnums);
    FOR drift IN SELECT d.* FROM cache_sync.field_drift(att.table_id) d ORDER BY d.attnum LOOP
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
    UPDATE cache_sync.attached a SET rel_oid = a.tbl::oid, key = cache_sync.key_now(a.tbl)
    WHERE a.table_id = att.table_id AND a.rel_oid <> a.tbl::oid;
END
$$;

-- A row that a restore inserts comes from another database, where oids and numbers of columns were others, even if they
-- happen to be the same: its fields have yet to be matched.
CREATE OR REPLACE FUNCTION cache_sync.unmatch() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.rel_oid := 0;
    NEW.key := NULL;
    NEW.rekeyed := false;
    NEW.tag_attnums := '{}';
    RETURN NEW;
END
$$;

-- Sessions first: that waits for batches under way, and then there are no more letters to come.
CREATE FUNCTION cache_sync.forget_rest() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM cache_sync.session s WHERE s.table_id = OLD.table_id;
    DELETE FROM cache_sync.dead_letter d WHERE d.table_id = OLD.table_id;
    DELETE FROM cache_sync.field f WHERE f.table_id = OLD.table_id;
    RETURN NULL;
END
$$;

-- Raises when the primary key is not the one that the table was attached with.
CREATE FUNCTION cache_sync.refuse_key(att cache_sync.attached) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF att.rel_oid = att.tbl::oid AND att.key <> cache_sync.key_now(att.tbl) THEN
        RAISE EXCEPTION 'the primary key of % is not the one that it was attached with', att.tbl
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Clients that have the table open know its rows by the key of before.',
                  HINT = format('Detach the table and attach it again, with its rules: SELECT cache_sync.detach(%L);', att.tbl);
    END IF;
END
$$;

-- Waits until nobody writes the table; 5 s at most, unless lock_timeout says otherwise.
CREATE FUNCTION cache_sync.wait_for_writers(tbl regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lock_timeout text := cache_sync.bound_lock_wait();
BEGIN
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', tbl);
    PERFORM set_config('lock_timeout', lock_timeout, true);
END
$$;

-- The table and all its partitions. It locks none of them, as pg_partition_tree() does: DDL of one table must not wait for
-- another.
CREATE OR REPLACE FUNCTION cache_sync.relations(tbl regclass) RETURNS TABLE (relid regclass)
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE tree (relid) AS (
        SELECT relations.tbl::oid
        UNION
        SELECT i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.relid JOIN pg_class c ON c.oid = i.inhrelid
        WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f') AND NOT i.inhdetachpending)
    SELECT t.relid::regclass FROM tree t
$$;

-- AFTER TRUNCATE of the table and of each of its partitions that lacks it, or has another table's: Postgres does not pass these triggers on to
-- partitions, neither now nor to those that come later.
CREATE FUNCTION cache_sync.truncate_triggers(tbl regclass, table_id integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lacking oid[] := ARRAY(SELECT r.relid FROM cache_sync.relations(tbl) r WHERE NOT EXISTS (
        SELECT FROM pg_trigger t WHERE t.tgrelid = r.relid AND t.tgname = 'cache_sync_truncate'
          AND t.tgargs = convert_to(table_id::text, 'UTF8') || '\x00'::bytea));
    part regclass;
BEGIN
    FOREACH part IN ARRAY lacking LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER cache_sync_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT '
                       'EXECUTE FUNCTION cache_sync.note_truncate(%L)', part, table_id);
    END LOOP;
    FOREACH part IN ARRAY lacking LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER cache_sync_truncate', part);
    END LOOP;
END
$$;

-- DDL changes what rows look like, moves them in and out with partitions, or takes them away: then the table as a whole
-- has changed. Fields are matched with columns at once, so that nobody sees two renames at a time, be it in a dump; those
-- of a restored table, which are known by name, before anything is renamed. It fires with every command in this database, so
-- it finishes quickly with those that alter neither tables nor types, and it must not fail, but for a lock on a table whose
-- type is altered.
CREATE FUNCTION cache_sync.note_ddl() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    altered oid[];
    made_of oid[];
    retyped oid[];
    att record;
BEGIN
    IF tg_event = 'ddl_command_start' THEN
        PERFORM cache_sync.sync_fields(a.table_id) FROM cache_sync.attached a
        WHERE a.rel_oid <> a.tbl::oid AND EXISTS (SELECT FROM cache_sync.key_columns(a.tbl))
          -- A restore that disables triggers alters our tables, too: its fields may be still to come.
          AND EXISTS (SELECT FROM cache_sync.field f WHERE f.table_id = a.table_id);
        RETURN;
    ELSIF tg_event = 'sql_drop' THEN
        -- A partition is known by our trigger on it; whose it was can no longer be seen.
        FOR att IN
            SELECT a.table_id FROM cache_sync.attached a
            WHERE EXISTS (SELECT FROM pg_event_trigger_dropped_objects() d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = a.tbl AND d.objsubid = 0
                             OR d.classid = 'pg_trigger'::regclass AND d.address_names[3] = 'cache_sync_change' AND NOT d.original
                                AND EXISTS (SELECT FROM pg_partitioned_table p WHERE p.partrelid = a.tbl))
        LOOP
            PERFORM cache_sync.note_known(att.table_id);
        END LOOP;
        RETURN;
    END IF;
    SELECT array_agg(d.objid) FILTER (WHERE d.command_tag = 'ALTER TABLE' AND d.classid = 'pg_class'::regclass),
           array_agg(d.objid) FILTER (WHERE d.command_tag IN ('ALTER TYPE', 'ALTER DOMAIN', 'ALTER SCHEMA')),
           array_agg(d.objid) FILTER (WHERE d.command_tag = 'ALTER TYPE')
      INTO altered, made_of, retyped FROM pg_event_trigger_ddl_commands() d;
    -- Partitions that come along lack the trigger that is not passed on to them.
    PERFORM cache_sync.truncate_triggers(a.tbl, a.table_id)
    FROM cache_sync.attached a JOIN pg_partitioned_table p ON p.partrelid = a.tbl
    WHERE EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = a.tbl AND t.tgname = 'cache_sync_truncate')
      AND EXISTS (SELECT FROM pg_event_trigger_ddl_commands() d JOIN cache_sync.relations(a.tbl) r ON r.relid = d.objid
                  WHERE d.command_tag IN ('CREATE TABLE', 'ALTER TABLE') AND d.classid = 'pg_class'::regclass);
    IF made_of IS NOT NULL THEN
        altered := altered || cache_sync.tables_made_of(made_of);
    END IF;
    IF altered IS NULL THEN
        RETURN;
    END IF;
    -- Other values of a type have other hashes: a writer that has noted those of before must have told them before anybody
    -- relies on the new ones. Altering a type waits for nobody by itself.
    IF retyped IS NOT NULL THEN
        retyped := cache_sync.tables_made_of(retyped);
    END IF;
    FOR att IN
        SELECT a.* FROM cache_sync.attached a
        WHERE EXISTS (SELECT FROM cache_sync.relations(a.tbl) r WHERE r.relid = ANY (altered))
    LOOP
        IF att.tbl = ANY (retyped) THEN
            PERFORM cache_sync.wait_for_writers(att.tbl);
        END IF;
        PERFORM cache_sync.note_known(att.table_id);
        -- Names of schemas and types are in compiled statements.
        PERFORM cache_sync.invalidate_table(att.tbl);
        UPDATE cache_sync.attached a SET rekeyed = NOT a.rekeyed
        WHERE a.table_id = att.table_id AND a.rel_oid = a.tbl::oid
          AND a.rekeyed IS DISTINCT FROM (a.key IS DISTINCT FROM cache_sync.key_now(a.tbl));
        PERFORM cache_sync.sync_fields(a.table_id) FROM cache_sync.attached a
        WHERE a.table_id = att.table_id AND a.rel_oid = a.tbl::oid AND NOT a.rekeyed;
    END LOOP;
END
$$;

CREATE FUNCTION cache_sync.note_table(table_id integer) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'note_table';

-- Of a table that this transaction attached nobody holds anything. Whatever else writes to its row has noted the table
-- itself.
CREATE FUNCTION cache_sync.note_known(table_id integer) RETURNS void
    LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT cache_sync.note_table(a.table_id) FROM cache_sync.attached a
    WHERE a.table_id = note_known.table_id AND a.xmin <> pg_current_xact_id()::xid
$$;

-- The tables that are in one of these schemas or have columns of one of these types, or of types made of them. Types and
-- schemas are in different catalogs, and an oid that means one thing in one of them may mean another in the other: then a
-- table too much is named.
CREATE FUNCTION cache_sync.tables_made_of(objects oid[]) RETURNS oid[]
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

-- What the library needs to know of a function that merges; null when it is not there.
CREATE FUNCTION cache_sync.function_facts(name text) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('name', format('%I.%I', n.nspname, p.proname),
                              'argument', cache_sync.qualified_type(p.proargtypes[0], -1), 'strict', p.proisstrict)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.oid = to_regprocedure(function_facts.name)
$$;

-- What the library compiles statements from. Names and types that go into SQL texts come quoted and qualified.
CREATE OR REPLACE FUNCTION cache_sync.layout(tbl regclass) RETURNS jsonb
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att cache_sync.attached;
    fields jsonb;
BEGIN
    SELECT a.* INTO att FROM cache_sync.attached a WHERE a.tbl = layout.tbl;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not attached', tbl USING ERRCODE = 'CS005',
            HINT = format('SELECT cache_sync.attach(%L); a partition is attached with its whole table.', tbl);
    END IF;
    PERFORM cache_sync.sync_fields(att.table_id);
    PERFORM cache_sync.refuse_columns(att.tbl, att.versioned);
    PERFORM cache_sync.refuse_key(att);
    IF att.versioned AND NOT cache_sync.has_own_columns(att.tbl) THEN
        RAISE EXCEPTION '% lacks cs_version or cs_clock', att.tbl USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('SELECT cache_sync.repair(%L);', att.tbl);
    END IF;
    SELECT jsonb_agg(jsonb_build_object(
        'id', f.field_id, 'name', a.attname, 'column', quote_ident(a.attname), 'type', a.atttypid::bigint,
        'type_name', cache_sync.type_name(a.atttypid), 'declared', cache_sync.declared(a),
        'change', CASE WHEN b.word = 'union' THEN 'pg_catalog.jsonb'
                       WHEN b.base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'bigint'
                       ELSE cache_sync.qualified_type(b.base, -1) END,
        'rule', cache_sync.check_rule(f.rule, a.atttypid, att.versioned OR a.attgenerated <> '', a.attname),
        'is_array', cache_sync.element_type(b.base) IS NOT NULL,
        'is_plain', cache_sync.element_type(b.base) IS NULL AND b.typtype <> 'c'
            AND b.base NOT IN ('oidvector'::regtype, 'int2vector'::regtype),
        'function', CASE WHEN b.word = 'function' THEN cache_sync.function_facts(f.rule ->> 'name') END,
        'generated', a.attgenerated <> '' OR a.attidentity = 'a',
        'not_null', a.attnotnull,
        'exact', CASE WHEN b.base IN ('text'::regtype, 'varchar'::regtype) THEN b.typmod = -1 AND b.word IN ('lww', 'arrival')
                      WHEN b.base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
                          THEN b.word IN ('lww', 'arrival', 'add', 'max', 'min')
                      ELSE (b.base IN ('bool'::regtype, 'float8'::regtype) OR b.typtype = 'e') AND b.word IN ('lww', 'arrival')
                 END) ORDER BY f.field_id)
      INTO fields
      FROM cache_sync.field f
      JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attnum = f.attnum
      CROSS JOIN LATERAL (
        SELECT t.oid AS base, t.typtype, coalesce(f.rule ->> 'rule', f.rule #>> '{}') AS word,
               CASE WHEN t.oid = a.atttypid THEN a.atttypmod ELSE (SELECT d.typtypmod FROM pg_type d WHERE d.oid = a.atttypid) END AS typmod
        FROM pg_type t WHERE t.oid = cache_sync.base_type(a.atttypid)) b
     WHERE f.table_id = att.table_id AND NOT f.dropped;
    RETURN jsonb_build_object(
        'table_id', att.table_id, 'relation', att.tbl::text, 'versioned', att.versioned, 'fields', coalesce(fields, '[]'),
        'key', (SELECT jsonb_agg(jsonb_build_object(
                    'name', a.attname, 'column', quote_ident(a.attname), 'type', a.atttypid::bigint,
                    'type_name', cache_sync.type_name(a.atttypid), 'kind', cache_sync.key_kind(a.atttypid),
                    'declared', cache_sync.declared(a),
                    'order', CASE WHEN a.attcollation <> 0 THEN ' COLLATE pg_catalog."C"' ELSE '' END) ORDER BY k.ord)
                FROM cache_sync.key_columns(att.tbl) k
                JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attnum = k.attnum),
        'identity', EXISTS (SELECT FROM cache_sync.key_columns(att.tbl) k
                            JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attnum = k.attnum
                            WHERE a.attidentity = 'a'),
        'coerced', EXISTS (SELECT FROM pg_attribute a
                           WHERE a.attrelid = att.tbl AND a.attgenerated <> '' AND NOT a.attisdropped)
                OR EXISTS (SELECT FROM pg_trigger t JOIN cache_sync.relations(att.tbl) r ON r.relid = t.tgrelid
                           WHERE t.tgtype & 3 = 3 AND t.tgtype & 20 <> 0 AND t.tgenabled <> 'D'
                             AND t.tgfoid <> 'cache_sync.set_version'::regproc),
        'tags', (SELECT jsonb_agg(jsonb_build_object('name', t.name, 'kind', cache_sync.tag_kind(a.atttypid, a.attcollation)) ORDER BY t.ord)
                 FROM unnest(att.tags) WITH ORDINALITY AS t (name, ord)
                 JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attname = t.name AND a.attnum > 0 AND NOT a.attisdropped),
        'expires', (SELECT quote_ident(a.attname) FROM cache_sync.field f
                    JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attnum = f.attnum
                    WHERE f.table_id = att.table_id AND f.field_id = att.expires AND NOT f.dropped),
        'relations', (SELECT jsonb_agg(r.relid::oid::bigint) FROM cache_sync.relations(att.tbl) r));
END
$$;

-- A type with its modifier (-1: none), written so that it is the same one whatever the search_path of who reads it.
CREATE FUNCTION cache_sync.qualified_type(type oid, modifier integer) RETURNS text
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'qualified_type';

-- A column's type with modifier and collation.
CREATE OR REPLACE FUNCTION cache_sync.declared(a pg_attribute) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT cache_sync.qualified_type(a.atttypid, a.atttypmod)
        || coalesce((SELECT format(' COLLATE %I.%I', n.nspname, c.collname)
                     FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = a.attcollation), '')
$$;

-- What the SDK asks of a table; see docs/design.md.
CREATE OR REPLACE FUNCTION cache_sync.description(tbl regclass) RETURNS jsonb
    LANGUAGE sql STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object(
        'table_id', l -> 'table_id', 'schema', n.nspname, 'name', c.relname, 'versioned', l -> 'versioned',
        'hash_key', encode(cache_sync.table_secret((l ->> 'table_id')::integer), 'hex'), 'epoch', cache_sync.epoch(), 'preloaded', cache_sync.is_preloaded(),
        'key', (SELECT jsonb_agg(k - '{column,declared,order}'::text[] ORDER BY ord)
                FROM jsonb_array_elements(l -> 'key') WITH ORDINALITY AS k (k, ord)),
        'expires', l -> 'expires', 'tags', l -> 'tags',
        'fields', (SELECT coalesce(jsonb_agg(f - '{column,declared,change,exact,is_array,is_plain,function}'::text[] ORDER BY ord), '[]')
                   FROM jsonb_array_elements(l -> 'fields') WITH ORDINALITY AS f (f, ord)))
    FROM cache_sync.layout(description.tbl) l, pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = description.tbl
$$;

-- Raises when the table's columns are not such that it can be attached.
CREATE OR REPLACE FUNCTION cache_sync.refuse_columns(tbl regclass, versioned boolean) RETURNS void
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
        LEFT JOIN cache_sync.key_columns(tbl) k ON k.attnum = a.attnum
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
        ELSIF cache_sync.key_kind(col.atttypid) IS NULL THEN
            RAISE EXCEPTION 'the key column "%" of % is of type %, which cannot be part of a key', col.attname, tbl,
                format_type(col.atttypid, NULL)
                USING ERRCODE = 'feature_not_supported',
                      DETAIL = CASE WHEN (SELECT t.typtype = 'e' FROM pg_type t WHERE t.oid = cache_sync.base_type(col.atttypid))
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

-- How the values of a tag are hashed: the word for a key's column, or the list of those of a composite's parts; null for types
-- whose equal values may differ in their bytes.
CREATE FUNCTION cache_sync.tag_kind(type oid, colloid oid) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    base pg_type;
    part record;
    kinds jsonb := '[]';
BEGIN
    IF NOT coalesce((SELECT c.collisdeterministic FROM pg_collation c WHERE c.oid = colloid), true) THEN
        RETURN NULL;
    ELSIF cache_sync.key_kind(type) IS NOT NULL THEN
        RETURN to_jsonb(cache_sync.key_kind(type));
    END IF;
    SELECT t.* INTO base FROM pg_type t WHERE t.oid = cache_sync.base_type(type);
    IF base.typtype <> 'c' THEN
        RETURN NULL;
    END IF;
    FOR part IN SELECT cache_sync.tag_kind(a.atttypid, a.attcollation) AS kind FROM pg_attribute a
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

-- Raises when one of the columns cannot be a tag.
CREATE FUNCTION cache_sync.refuse_tags(tbl regclass, tags name[]) RETURNS void
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
        ELSIF cache_sync.tag_kind(col.atttypid, col.attcollation) IS NULL THEN
            RAISE EXCEPTION 'the column "%" of % is of type %, which cannot be a tag', tag, tbl, format_type(col.atttypid, NULL)
                USING ERRCODE = 'feature_not_supported',
                      DETAIL = 'Values of this type, or in its collation, may be equal without being the same to the byte.',
                      HINT = 'Tags may be of the types that keys may be of, and of composites of these.';
        END IF;
    END LOOP;
END
$$;

-- Raises when the table is not such that it can be attached.
CREATE OR REPLACE FUNCTION cache_sync.refuse_table(tbl regclass, versioned boolean, tags name[]) RETURNS void
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
    ELSIF rel.relnamespace IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace, 'cache_sync'::regnamespace,
                               'information_schema'::regnamespace) THEN
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
    SELECT a.tbl INTO part FROM cache_sync.attached a JOIN cache_sync.relations(refuse_table.tbl) r ON r.relid = a.tbl
    WHERE a.tbl <> refuse_table.tbl LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the partition % of % is attached by itself', part, tbl
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('SELECT cache_sync.detach(%L) first: partitions are attached with their whole table.', part);
    END IF;
    PERFORM cache_sync.refuse_columns(tbl, versioned);
    PERFORM cache_sync.refuse_tags(tbl, tags);
END
$$;

CREATE FUNCTION cache_sync.record_expiry(tbl regclass, facts jsonb) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'record_expiry';
CREATE FUNCTION cache_sync.record_tags(tbl regclass, facts jsonb) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'record_tags';

CREATE OR REPLACE FUNCTION cache_sync.write_rule(tbl regclass, facts jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att cache_sync.attached;
    col pg_attribute;
    wanted jsonb := facts -> 'rule';
BEGIN
    SELECT a.* INTO att FROM cache_sync.attached a WHERE a.tbl = write_rule.tbl FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not attached', tbl USING ERRCODE = 'CS005';
    END IF;
    PERFORM cache_sync.sync_fields(att.table_id);
    SELECT c.* INTO col FROM cache_sync.field_columns(att.tbl) c WHERE c.attname = facts ->> 'field';
    IF NOT FOUND THEN
        -- A member of the documents of a table that create_table made.
        SELECT c.* INTO col FROM cache_sync.field_columns(att.tbl) c
        JOIN cache_sync.field f ON f.table_id = att.table_id AND f.attnum = c.attnum AND NOT f.dropped
        WHERE f.rule ->> 'rule' = 'json' AND c.attname = 'value'
          AND EXISTS (SELECT FROM cache_sync.field_columns(att.tbl) e WHERE e.attname = 'expires_at')
          AND (SELECT array_agg(k.attname::text) FROM cache_sync.key_columns(att.tbl) o
               JOIN pg_attribute k ON k.attrelid = att.tbl AND k.attnum = o.attnum) = '{key}';
        IF FOUND THEN
            SELECT jsonb_set(f.rule, '{members}',
                             coalesce(f.rule -> 'members', '{}') || jsonb_build_object(facts ->> 'field', facts -> 'rule'))
            INTO wanted
            FROM cache_sync.field f WHERE f.table_id = att.table_id AND f.attnum = col.attnum AND NOT f.dropped;
        END IF;
    END IF;
    IF col.attname IS NULL THEN
        RAISE EXCEPTION '% has no field "%"', tbl, facts ->> 'field'
            USING ERRCODE = 'undefined_column', HINT = 'Fields are the columns that are not part of the key.';
    ELSIF col.attgenerated <> '' THEN
        RAISE EXCEPTION 'the field "%" of % is generated and takes no rule', col.attname, tbl
            USING ERRCODE = 'wrong_object_type';
    END IF;
    wanted := cache_sync.check_rule(wanted, col.atttypid, att.versioned, col.attname);
    UPDATE cache_sync.field f SET rule = wanted
    WHERE f.table_id = att.table_id AND f.attnum = col.attnum AND NOT f.dropped;
    RETURN wanted;
END
$$;

CREATE FUNCTION cache_sync.write_tags(tbl regclass, facts jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id integer;
    wanted name[] := ARRAY(SELECT t::name FROM jsonb_array_elements_text(facts) t);
BEGIN
    PERFORM cache_sync.refuse_tags(tbl, wanted);
    UPDATE cache_sync.attached a SET tags = wanted, tag_attnums = '{}' WHERE a.tbl = write_tags.tbl RETURNING a.table_id INTO id;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not attached', tbl USING ERRCODE = 'CS005';
    END IF;
    PERFORM cache_sync.sync_fields(id);
    PERFORM cache_sync.note_table(id);
    RETURN to_jsonb(id);
END
$$;

CREATE FUNCTION cache_sync.write_expiry(tbl regclass, facts jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att cache_sync.attached;
    id smallint;
BEGIN
    SELECT a.* INTO att FROM cache_sync.attached a WHERE a.tbl = write_expiry.tbl FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not attached', tbl USING ERRCODE = 'CS005';
    END IF;
    PERFORM cache_sync.sync_fields(att.table_id);
    IF facts -> 'field' <> 'null' THEN
        SELECT f.field_id INTO id
        FROM cache_sync.field f JOIN cache_sync.field_columns(att.tbl) c ON c.attnum = f.attnum
        WHERE f.table_id = att.table_id AND NOT f.dropped AND c.attname = facts ->> 'field'
          AND cache_sync.base_type(c.atttypid) = 'timestamptz'::regtype;
        IF NOT FOUND THEN
            RAISE EXCEPTION '% has no field "%" of type timestamp with time zone', tbl, facts ->> 'field'
                USING ERRCODE = 'undefined_column';
        END IF;
    END IF;
    -- Rows that were there may count as gone now, and the other way round.
    PERFORM cache_sync.note_known(att.table_id);
    UPDATE cache_sync.attached a SET expires = id WHERE a.table_id = att.table_id;
    RETURN coalesce(to_jsonb(id), 'null');
END
$$;

CREATE FUNCTION cache_sync.drop_triggers(tbl regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part record;
BEGIN
    FOR part IN
        SELECT t.tgname, t.tgrelid::regclass AS relid
        FROM pg_trigger t JOIN cache_sync.relations(tbl) r ON r.relid = t.tgrelid
        WHERE t.tgparentid = 0 AND t.tgfoid IN ('cache_sync.note_change'::regproc,
            'cache_sync.note_truncate'::regproc, 'cache_sync.set_version'::regproc)
        ORDER BY t.tgrelid, t.tgname
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', part.tgname, part.relid);
    END LOOP;
END
$$;

-- Whether the table has the two columns of a versioned one.
CREATE FUNCTION cache_sync.has_own_columns(tbl regclass) RETURNS boolean
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*) = 2 FROM pg_attribute a
    WHERE a.attrelid = has_own_columns.tbl AND NOT a.attisdropped
      AND (a.attname, a.atttypid) IN (('cs_version', 'int8'::regtype), ('cs_clock', 'bytea'::regtype))
$$;

-- Whether rows that are inserted get a version.
CREATE FUNCTION cache_sync.has_version_default(tbl regclass) RETURNS boolean
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE d.adrelid = has_version_default.tbl AND a.attname = 'cs_version'
          AND pg_get_expr(d.adbin, d.adrelid) = 'cache_sync.hlc()')
$$;

CREATE OR REPLACE FUNCTION cache_sync.attach_table(
    tbl regclass, versioned boolean, rules jsonb, tags name[], if_not_attached boolean, default_ttl interval)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    was boolean;
    id integer;
    lock_timeout text;
BEGIN
    IF num_nulls(tbl, versioned, rules, tags, if_not_attached) > 0 THEN
        RAISE EXCEPTION 'no argument of attach may be null' USING ERRCODE = 'null_value_not_allowed';
    ELSIF jsonb_typeof(rules) <> 'object' THEN
        RAISE EXCEPTION 'rules must be a JSON object' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'For example {"likes": "add"}.';
    END IF;
    SELECT a.versioned INTO was FROM cache_sync.attached a WHERE a.tbl = attach_table.tbl;
    IF was IS NOT NULL THEN
        IF NOT if_not_attached OR was <> versioned THEN
            RAISE EXCEPTION '% is attached already, %', tbl, CASE WHEN was THEN 'versioned' ELSE 'plain' END
                USING ERRCODE = 'duplicate_object', HINT = 'Detach it first, or use set_rule to change its rules.';
        END IF;
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM pg_class c WHERE c.oid = tbl AND NOT pg_has_role(c.relowner, 'USAGE')) THEN
        RAISE EXCEPTION 'must be owner of table %', tbl USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM cache_sync.refuse_table(tbl, versioned, tags);
    lock_timeout := cache_sync.bound_lock_wait();
    EXECUTE format('LOCK TABLE %s IN %s MODE', tbl,
                   CASE WHEN versioned THEN 'ACCESS EXCLUSIVE' ELSE 'SHARE ROW EXCLUSIVE' END);
    PERFORM cache_sync.refuse_table(tbl, versioned, tags);
    IF versioned THEN
        EXECUTE format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS cs_version bigint, '
                       'ADD COLUMN IF NOT EXISTS cs_clock bytea', tbl);
        EXECUTE format('ALTER TABLE %s ALTER COLUMN cs_version SET DEFAULT cache_sync.hlc()', tbl);
    END IF;
    id := cache_sync.record_attached(tbl, jsonb_build_object(
        'versioned', versioned, 'tags', to_jsonb(tags), 'rules', rules, 'default_ttl', default_ttl));
    -- A table that was a partition of an attached one has kept some triggers, and a schema that was restored without its data
    -- has them under a number that nobody knows.
    PERFORM cache_sync.drop_triggers(tbl);
    PERFORM cache_sync.create_triggers(tbl, id, versioned);
    PERFORM set_config('lock_timeout', lock_timeout, true);
    IF cache_sync.feed_kind() = 'notify' THEN
        RAISE WARNING 'cache_sync is not preloaded: changes are told by NOTIFY, which slows writers down'
            USING HINT = 'Add cache_sync to shared_preload_libraries and restart the server.';
    END IF;
END
$$;

-- Attaches a table. It takes a lock that lets readers through (plain) or nobody (versioned), for an instant: nothing is
-- rewritten. Versioned tables get two columns, both nullable, so that nothing breaks when the extension is dropped.
CREATE OR REPLACE FUNCTION cache_sync.attach(
    tbl regclass, versioned boolean DEFAULT false, rules jsonb DEFAULT '{}', tags name[] DEFAULT '{}',
    if_not_attached boolean DEFAULT false) RETURNS void
    LANGUAGE sql AS $$
    SELECT cache_sync.attach_table(tbl, versioned, cache_sync.resolved_all(rules), tags, if_not_attached, NULL)
$$;

-- Takes back what attach did, and with drop_columns the two columns of a versioned table too. A table that was a partition
-- of an attached one has kept a trigger, the default and the columns: they can be taken back in the same way.
CREATE OR REPLACE FUNCTION cache_sync.detach(tbl regclass, drop_columns boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att cache_sync.attached;
    lock_timeout text;
BEGIN
    IF num_nulls(tbl, drop_columns) > 0 THEN
        RAISE EXCEPTION 'no argument of detach may be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT a.* INTO att FROM cache_sync.attached a WHERE a.tbl = detach.tbl;
    IF NOT FOUND THEN
        att.versioned := cache_sync.has_version_default(tbl);
        IF EXISTS (SELECT FROM pg_class c WHERE c.oid = detach.tbl AND c.relispartition) THEN
            RAISE EXCEPTION '% is a partition', tbl
                USING ERRCODE = 'CS005', HINT = format('Detach the whole table: SELECT cache_sync.detach(%L).', pg_partition_root(tbl));
        ELSIF NOT att.versioned AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = detach.tbl
                                                AND t.tgfoid = 'cache_sync.note_truncate'::regproc) THEN
            RAISE EXCEPTION '% is not attached', tbl USING ERRCODE = 'CS005';
        END IF;
    END IF;
    lock_timeout := cache_sync.bound_lock_wait();
    PERFORM cache_sync.drop_triggers(tbl);
    IF att.versioned AND drop_columns THEN
        EXECUTE format('ALTER TABLE %s DROP COLUMN IF EXISTS cs_version, DROP COLUMN IF EXISTS cs_clock', tbl);
    ELSIF att.versioned THEN
        EXECUTE format('ALTER TABLE %s ALTER COLUMN cs_version DROP DEFAULT', tbl);
    END IF;
    PERFORM cache_sync.record_detached(tbl, '{}');
    PERFORM set_config('lock_timeout', lock_timeout, true);
END
$$;

-- A table for documents or plain values, attached and versioned; a document's members are fields, each with its rule, `lww`
-- if no other is set. The name may be qualified; without a schema the table goes where CREATE TABLE would put it. With
-- default_ttl a new row expires after so long, unless its expires_at says otherwise.
CREATE OR REPLACE FUNCTION cache_sync.create_table(name text, default_ttl interval DEFAULT NULL) RETURNS regclass
    LANGUAGE plpgsql AS $$
DECLARE
    parts pg_catalog.text[] := pg_catalog.parse_ident(name);
    schema pg_catalog.name;
    tbl pg_catalog.regclass;
BEGIN
    IF default_ttl OPERATOR(pg_catalog.<=) '0'::pg_catalog.interval THEN
        RAISE EXCEPTION 'default_ttl must be longer than nothing' USING ERRCODE = 'invalid_parameter_value';
    ELSIF name IS NULL OR pg_catalog.cardinality(parts) OPERATOR(pg_catalog.>) 2 THEN
        RAISE EXCEPTION '"%" is no name for a table', name USING ERRCODE = 'invalid_name';
    ELSIF pg_catalog.cardinality(parts) OPERATOR(pg_catalog.=) 2 THEN
        schema := parts[1];
    ELSE
        schema := pg_catalog.current_schema();
    END IF;
    IF schema IS NULL THEN
        RAISE EXCEPTION 'no schema has been selected to create in' USING ERRCODE = 'invalid_schema_name';
    END IF;
    EXECUTE pg_catalog.format('CREATE TABLE %I.%I (key pg_catalog.text PRIMARY KEY, value pg_catalog.jsonb, '
        'expires_at pg_catalog.timestamptz)', schema, parts[pg_catalog.cardinality(parts)]);
    tbl := pg_catalog.format('%I.%I', schema, parts[pg_catalog.cardinality(parts)])::pg_catalog.regclass;
    IF default_ttl IS NOT NULL THEN
        EXECUTE pg_catalog.format('ALTER TABLE %I.%I ALTER COLUMN expires_at SET DEFAULT pg_catalog.now() '
            'OPERATOR(pg_catalog.+) %L::pg_catalog.interval', schema, parts[pg_catalog.cardinality(parts)], default_ttl);
    END IF;
    PERFORM cache_sync.attach_table(tbl, true, '{"value": {"rule": "json", "depth": 1}}', '{}', false, default_ttl);
    PERFORM cache_sync.set_expiry(tbl, 'expires_at');
    RETURN tbl;
END
$$;

-- Names the columns on which queries can depend.
CREATE FUNCTION cache_sync.set_tags(tbl regclass, tags name[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF num_nulls(tbl, tags) > 0 THEN
        RAISE EXCEPTION 'no argument of set_tags may be null' USING ERRCODE = 'null_value_not_allowed';
    ELSIF NOT EXISTS (SELECT FROM cache_sync.attached a WHERE a.tbl = set_tags.tbl) THEN
        RAISE EXCEPTION '% is not attached', tbl USING ERRCODE = 'CS005';
    END IF;
    PERFORM cache_sync.refuse_tags(tbl, tags);
    -- A writer that has noted the tags of before must have told them before queries rely on others.
    PERFORM cache_sync.wait_for_writers(tbl);
    PERFORM cache_sync.record_tags(tbl, to_jsonb(tags));
END
$$;

-- How a field merges from now on, as '"add"', '{"rule": "append", "cap": 100}' or '{"rule": "function", "name": "f(int,int)"}'.
-- In a table that create_table made, a member of its documents is a field, too.
CREATE OR REPLACE FUNCTION cache_sync.set_rule(tbl regclass, field name, rule jsonb) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    IF pg_catalog.num_nulls(tbl, field, rule) OPERATOR(pg_catalog.>) 0 THEN
        RAISE EXCEPTION 'no argument of set_rule may be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM cache_sync.record_rule(tbl, pg_catalog.jsonb_build_object('field', field, 'rule', cache_sync.resolved(rule)));
END
$$;

-- From now on the field, of type timestamptz, says when a row expires: then it is as good as gone, and run_maintenance
-- deletes it. Null: rows do not expire.
CREATE FUNCTION cache_sync.set_expiry(tbl regclass, field name) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF tbl IS NULL THEN
        RAISE EXCEPTION 'tbl must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM cache_sync.record_expiry(tbl, jsonb_build_object('field', field));
END
$$;

CREATE FUNCTION cache_sync.clock_first(clock bytea, wins boolean, field smallint, stamp bigint) RETURNS bytea
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'clock_first';

-- What a patch makes of a document, and of the stamps of its paths.
CREATE FUNCTION cache_sync.document_changes(
    rule text, is_edit boolean, is_each boolean, current jsonb, incoming jsonb, stamp bigint, clock bytea,
    version bigint, field smallint) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'document_changes';

CREATE FUNCTION cache_sync.document_value(
    rule text, is_edit boolean, is_each boolean, current jsonb, incoming jsonb, stamp bigint, clock bytea,
    version bigint, field smallint) RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'document_value';

CREATE FUNCTION cache_sync.document_loses(
    rule text, is_edit boolean, is_each boolean, current jsonb, incoming jsonb, stamp bigint, clock bytea,
    version bigint, field smallint) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'document_loses';

CREATE FUNCTION cache_sync.document_clock(
    marked bytea, rule text, is_edit boolean, is_each boolean, current jsonb, incoming jsonb, stamp bigint, clock bytea,
    version bigint, field smallint) RETURNS bytea
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'document_clock';

CREATE FUNCTION cache_sync.document_lost(field smallint) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'document_lost';

CREATE FUNCTION cache_sync.document_clock_fresh(
    clock bytea, rule text, incoming jsonb, stamp bigint, field smallint) RETURNS bytea
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'document_clock_fresh';

CREATE FUNCTION cache_sync.document_fresh(rule text, incoming jsonb, is_each boolean) RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'document_fresh';

-- Applies the next batch of a session; see docs/design.md.
CREATE FUNCTION cache_sync.apply(
    tbl regclass, session uuid, fence bigint, seq bigint, shapes jsonb, rows text[],
    OUT epoch bigint, OUT last_seq bigint, OUT outcomes bytea)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apply';

-- The hash that the feed tells of a tag's value, which comes as its type's text, or null.
CREATE FUNCTION cache_sync.tag_hash(tbl regclass, tag name, value text) RETURNS bigint
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tag_hash';

-- The secret with which the keys of a table are hashed, made of the database's.
CREATE FUNCTION cache_sync.table_secret(table_id integer) RETURNS bytea
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'table_secret';

-- Where this server is in which history: the end of the log, or up to where a standby has replayed it.
CREATE FUNCTION cache_sync.server_state()
    RETURNS TABLE (in_recovery boolean, system bigint, timeline integer, database bigint, lsn bigint, epoch bigint)
    LANGUAGE c VOLATILE STRICT ROWS 1 AS 'MODULE_PATHNAME', 'server_state';

-- What a client asks now and then that hears by NOTIFY, for want of a preloaded library: the answer comes behind all
-- notifications of what was committed before, and only if the caller may read the tables.
CREATE FUNCTION cache_sync.listen_state(table_ids integer[]) RETURNS TABLE (epoch bigint, hlc bigint)
    LANGUAGE c VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'listen_state';

-- The objects of an array as rows, for columns that are neither arrays nor composites.
CREATE FUNCTION cache_sync.patches(patches json) RETURNS SETOF record
    LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'patches';

-- Over lists and sets.
CREATE FUNCTION cache_sync.joined(current jsonb, incoming jsonb) RETURNS jsonb
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'joined';

CREATE FUNCTION cache_sync.last_of(list jsonb, cap integer) RETURNS jsonb
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'last_of';

CREATE FUNCTION cache_sync.last_of(list anyarray, cap integer) RETURNS anyarray
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN pg_catalog.array_length(list, 1) OPERATOR(pg_catalog.>) cap
        THEN list[pg_catalog.array_upper(list, 1) OPERATOR(pg_catalog.-) cap OPERATOR(pg_catalog.+) 1 :] ELSE list END
$$;

CREATE FUNCTION cache_sync.united(current jsonb, change jsonb) RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'united_json';

CREATE FUNCTION cache_sync.united(current anyarray, change jsonb) RETURNS anyarray
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'united_array';

CREATE FUNCTION cache_sync.unites(current jsonb, change jsonb) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'unites_json';

CREATE FUNCTION cache_sync.unites(current anyarray, change jsonb) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'unites_array';

CREATE FUNCTION cache_sync.not_null(value anyelement, function text) RETURNS anyelement
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'not_null';

-- Refuses what is added to a number and would leave none: NaN and the infinities.
CREATE FUNCTION cache_sync.finite(change numeric) RETURNS numeric
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'finite';

-- Sets the fields of the row if it has the expected version; 0 or null: if there is no such row. The loser is told
-- `conflict`, and gets the row as it is.
CREATE FUNCTION cache_sync.compare_and_set(
    tbl regclass, doc jsonb, expected_version bigint, OUT outcome text, OUT version bigint, OUT row_after jsonb)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'compare_and_set';

-- What a rule makes of two values, as JSON; a function runs as the caller, on the types that it takes.
CREATE FUNCTION cache_sync.merge(rule jsonb, current_value jsonb, incoming jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    spelled pg_catalog.jsonb := cache_sync.spelled(cache_sync.resolved(rule));
    word pg_catalog.text := coalesce(spelled OPERATOR(pg_catalog.->>) 'rule', spelled OPERATOR(pg_catalog.#>>) '{}');
    type pg_catalog.text;
    merged pg_catalog.jsonb;
BEGIN
    IF word OPERATOR(pg_catalog.=) 'function' THEN
        type := cache_sync.merged_type(spelled OPERATOR(pg_catalog.->>) 'name');
        EXECUTE pg_catalog.format(
            'SELECT pg_catalog.to_jsonb(%s(r.a, r.b)) FROM pg_catalog.jsonb_to_record($1) AS r(a %s, b %s)',
            cache_sync.called(spelled OPERATOR(pg_catalog.->>) 'name'), type, type)
        INTO merged USING pg_catalog.jsonb_build_object('a', current_value, 'b', incoming);
        IF merged IS NULL AND (
            SELECT p.proisstrict FROM pg_catalog.pg_proc p
            WHERE p.oid OPERATOR(pg_catalog.=) pg_catalog.to_regprocedure(spelled OPERATOR(pg_catalog.->>) 'name')) THEN
            -- It was not asked, if one of the values is null: the other one stands.
            merged := CASE WHEN coalesce(pg_catalog.jsonb_typeof(current_value), 'null') OPERATOR(pg_catalog.=) 'null'
                               THEN coalesce(incoming, 'null')
                           WHEN coalesce(pg_catalog.jsonb_typeof(incoming), 'null') OPERATOR(pg_catalog.=) 'null'
                               THEN current_value END;
        END IF;
        IF merged IS NULL THEN
            RAISE EXCEPTION 'the function % returned null', cache_sync.called(spelled OPERATOR(pg_catalog.->>) 'name')
                USING ERRCODE = 'null_value_not_allowed';
        END IF;
        RETURN merged;
    ELSIF word OPERATOR(pg_catalog.=) 'add' AND pg_catalog.jsonb_typeof(current_value) OPERATOR(pg_catalog.=) 'string'
        AND pg_catalog.jsonb_typeof(incoming) OPERATOR(pg_catalog.=) 'string' THEN
        RETURN pg_catalog.to_jsonb((current_value OPERATOR(pg_catalog.#>>) '{}')::pg_catalog.interval
            OPERATOR(pg_catalog.+) (incoming OPERATOR(pg_catalog.#>>) '{}')::pg_catalog.interval);
    END IF;
    RETURN cache_sync.merge_values(spelled, current_value, incoming);
END
$$;

CREATE FUNCTION cache_sync.merge_values(rule jsonb, current_value jsonb, incoming jsonb) RETURNS jsonb
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'merge_values';

-- The type that a function merges; raises when it merges none.
CREATE FUNCTION cache_sync.merged_type(signature text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    type oid := (SELECT p.proargtypes[0] FROM pg_proc p WHERE p.oid = to_regprocedure(merged_type.signature));
BEGIN
    PERFORM cache_sync.check_function(signature, coalesce(type, 0), 'value');
    RETURN cache_sync.qualified_type(type, -1);
END
$$;

-- A function by its name alone, quoted and qualified.
CREATE FUNCTION cache_sync.called(signature text) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%I.%I', n.nspname, p.proname)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = to_regprocedure(called.signature)
$$;

-- Applies a refused patch again, in the caller's transaction, with its original stamps, and forgets it if Postgres takes
-- it. Of a row that was written since it was refused the caller is told `conflict`, unless forced.
CREATE FUNCTION cache_sync.requeue_dead_letter(
    id bigint, force boolean DEFAULT false, OUT outcome text, OUT version bigint, OUT row_after jsonb)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'requeue_dead_letter';

-- Forgets a refused patch; false when there is none of this number.
CREATE FUNCTION cache_sync.discard_dead_letter(id bigint) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'discard_dead_letter';

-- The statement that deletes a table's rows that have expired, $1 of them; null where none do.
CREATE FUNCTION cache_sync.prune_statement(tbl regclass) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('WITH old AS MATERIALIZED (SELECT t.tableoid, t.ctid FROM %1$s t '
                  'WHERE t.%2$I OPERATOR(pg_catalog.<=) pg_catalog.now() LIMIT $1 FOR UPDATE SKIP LOCKED) '
                  'DELETE FROM %1$s t USING old WHERE t.tableoid OPERATOR(pg_catalog.=) old.tableoid '
                  'AND t.ctid OPERATOR(pg_catalog.=) old.ctid', a.tbl, col.attname)
    FROM cache_sync.attached a
    JOIN cache_sync.field f ON f.table_id = a.table_id AND f.field_id = a.expires AND NOT f.dropped
    -- In a restored table a field is its name, until it is matched: its number may be that of another column.
    JOIN pg_attribute col ON col.attrelid = a.tbl AND NOT col.attisdropped
        AND CASE WHEN a.rel_oid = a.tbl::oid THEN col.attnum = f.attnum ELSE col.attname = f.name END
    WHERE a.tbl = prune_statement.tbl
$$;

CREATE FUNCTION cache_sync.prune_expired(tbl regclass, max_rows integer) RETURNS bigint
    LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'prune_expired';

CREATE FUNCTION cache_sync.prune_sessions(max_rows integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keep interval;
    pruned bigint;
BEGIN
    -- Loads the library, whose setting this is.
    PERFORM cache_sync.is_preloaded();
    keep := current_setting('cache_sync.session_keep')::interval;
    DELETE FROM cache_sync.session s WHERE s.ctid = ANY (ARRAY(
        SELECT o.ctid FROM cache_sync.session o WHERE o.used_at < now() - keep LIMIT max_rows FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END
$$;

-- Deletes rows that have expired, sessions that nobody used for `cache_sync.session_keep`, and what is known of tables that
-- were dropped: of each kind and table `max_rows` at most, so that no transaction gets long. It takes the right to DELETE;
-- rows are deleted as the table's owner, so that triggers get no rights of the caller's. To be called now and then, until it says 0 everywhere.
CREATE FUNCTION cache_sync.run_maintenance(max_rows integer DEFAULT 10000)
    RETURNS TABLE (what text, tbl regclass, pruned bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att record;
BEGIN
    IF max_rows IS NULL OR max_rows < 1 THEN
        RAISE EXCEPTION 'max_rows must be at least 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR att IN
        SELECT a.tbl FROM cache_sync.attached a JOIN pg_class c ON c.oid = a.tbl
        WHERE a.expires IS NOT NULL AND has_table_privilege(a.tbl, 'DELETE') ORDER BY a.table_id
    LOOP
        what := 'expired rows';
        tbl := att.tbl;
        BEGIN
            pruned := cache_sync.prune_expired(att.tbl, max_rows);
        EXCEPTION WHEN OTHERS THEN
            -- A row that others refer to, a trigger that raises: the other tables are pruned all the same.
            RAISE WARNING 'expired rows of % could not be deleted: %', att.tbl, SQLERRM USING ERRCODE = SQLSTATE;
            pruned := 0;
        END;
        RETURN NEXT;
    END LOOP;
    what := 'sessions';
    tbl := NULL;
    pruned := cache_sync.prune_sessions(max_rows);
    RETURN NEXT;
    PERFORM cache_sync.forget_dropped();
END
$$;

-- What is wrong with attached tables that the caller may read, and what to do about it; nothing when all is well.
CREATE FUNCTION cache_sync.check_tables() RETURNS TABLE (tbl regclass, problem text, hint text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att cache_sync.attached;
    part record;
    found record;
BEGIN
    FOR att IN SELECT a.* FROM cache_sync.attached a ORDER BY a.table_id LOOP
        tbl := att.tbl;
        IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = att.tbl) THEN
            problem := 'the table was dropped';
            hint := 'run_maintenance() forgets it.';
            RETURN NEXT;
            CONTINUE;
        ELSIF NOT has_any_column_privilege(att.tbl, 'SELECT') THEN
            CONTINUE;
        END IF;
        BEGIN
            PERFORM cache_sync.refuse_table(att.tbl, att.versioned, att.tags);
            PERFORM cache_sync.refuse_key(att);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
            RETURN NEXT;
        END;
        FOR found IN
            SELECT f.rule, a.atttypid, a.attname, a.attgenerated
            FROM cache_sync.field f JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attnum = f.attnum AND NOT a.attisdropped
            WHERE f.table_id = att.table_id AND NOT f.dropped AND att.rel_oid = att.tbl::oid ORDER BY f.field_id
        LOOP
            BEGIN
                PERFORM cache_sync.check_rule(found.rule, found.atttypid, att.versioned OR found.attgenerated <> '', found.attname);
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT;
                hint := format('SELECT cache_sync.set_rule(%L, %L, ...) with a rule that fits.', att.tbl, found.attname);
                RETURN NEXT;
            END;
        END LOOP;
        IF att.expires IS NOT NULL AND NOT EXISTS (
            SELECT FROM cache_sync.field f JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attnum = f.attnum
            WHERE f.table_id = att.table_id AND f.field_id = att.expires AND NOT f.dropped AND NOT a.attisdropped
              AND cache_sync.base_type(a.atttypid) = 'timestamptz'::regtype) AND att.rel_oid = att.tbl::oid THEN
            problem := 'the field that says when rows expire is gone, or of another type';
            hint := format('SELECT cache_sync.set_expiry(%L, ...) with another field, or null.', att.tbl);
            RETURN NEXT;
        END IF;
        FOR part IN SELECT r.relid, c.relkind FROM cache_sync.relations(att.tbl) r JOIN pg_class c ON c.oid = r.relid LOOP
            FOR found IN
                SELECT v.name FROM (VALUES ('cache_sync.note_change'::regproc, 'cache_sync_change', true),
                                           ('cache_sync.note_truncate'::regproc, 'cache_sync_truncate', true),
                                           ('cache_sync.set_version'::regproc, '~cache_sync_version', att.versioned))
                    AS v (proc, name, wanted)
                WHERE v.wanted AND NOT EXISTS (
                    SELECT FROM pg_trigger t WHERE t.tgrelid = part.relid AND t.tgfoid = v.proc AND t.tgenabled = 'A')
            LOOP
                problem := format('the trigger %s of %s is missing, or not enabled always', found.name, part.relid);
                hint := format('SELECT cache_sync.repair(%L);', att.tbl);
                RETURN NEXT;
            END LOOP;
            FOR found IN
                SELECT t.tgname FROM pg_trigger t
                WHERE att.versioned AND t.tgrelid = part.relid AND t.tgtype & 19 = 19 AND t.tgenabled <> 'D'
                  AND t.tgparentid = 0 AND t.tgname > '~cache_sync_version'
            LOOP
                problem := format('the trigger %I of %s fires after ours: fields that it changes are not stamped', found.tgname, part.relid);
                hint := format('ALTER TRIGGER %I ON %s RENAME TO ... a name that sorts before "~cache_sync_version".', found.tgname, part.relid);
                RETURN NEXT;
            END LOOP;
            IF att.versioned AND NOT cache_sync.has_own_columns(part.relid) THEN
                problem := format('%s lacks cs_version or cs_clock', part.relid);
                hint := format('SELECT cache_sync.repair(%L);', att.tbl);
                RETURN NEXT;
            ELSIF att.versioned AND NOT cache_sync.has_version_default(part.relid) THEN
                problem := format('cs_version of %s has lost its default', part.relid);
                hint := format('SELECT cache_sync.repair(%L);', att.tbl);
                RETURN NEXT;
            END IF;
        END LOOP;
    END LOOP;
    IF cache_sync.feed_kind() = 'notify' THEN
        tbl := NULL;
        problem := 'cache_sync is not preloaded: changes are told by NOTIFY, which slows writers down';
        hint := 'Add cache_sync to shared_preload_libraries and restart the server.';
        RETURN NEXT;
    END IF;
END
$$;

-- Makes an attached table whole again: triggers, columns, default.
CREATE FUNCTION cache_sync.repair(tbl regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    att cache_sync.attached;
    lock_timeout text;
BEGIN
    IF tbl IS NULL THEN
        RAISE EXCEPTION 'tbl must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    SELECT a.* INTO att FROM cache_sync.attached a WHERE a.tbl = repair.tbl;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not attached', tbl USING ERRCODE = 'CS005';
    END IF;
    lock_timeout := cache_sync.bound_lock_wait();
    PERFORM cache_sync.drop_triggers(tbl);
    IF att.versioned THEN
        EXECUTE format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS cs_version bigint, '
                       'ADD COLUMN IF NOT EXISTS cs_clock bytea', tbl);
        EXECUTE format('ALTER TABLE %s ALTER COLUMN cs_version SET DEFAULT cache_sync.hlc()', tbl);
    END IF;
    PERFORM cache_sync.create_triggers(tbl, att.table_id, att.versioned);
    PERFORM set_config('lock_timeout', lock_timeout, true);
    PERFORM cache_sync.invalidate_table(tbl);
END
$$;

CREATE VIEW cache_sync.tables AS
    SELECT a.table_id, a.tbl, a.versioned, a.tags, a.default_ttl,
           (SELECT f.name FROM cache_sync.field f WHERE f.table_id = a.table_id AND f.field_id = a.expires) AS expires,
           (SELECT coalesce(pg_catalog.jsonb_object_agg(f.name, f.rule), '{}') FROM cache_sync.field f
            WHERE f.table_id = a.table_id AND NOT f.dropped) AS rules,
           CASE WHEN pg_catalog.has_table_privilege(a.tbl, 'SELECT') THEN
               (SELECT pg_catalog.count(*) FROM cache_sync.session s WHERE s.table_id = a.table_id) END AS sessions,
           CASE WHEN pg_catalog.has_table_privilege(a.tbl, 'SELECT') THEN
               (SELECT pg_catalog.count(*) FROM cache_sync.dead_letter d WHERE d.table_id = a.table_id) END AS dead_letters
    FROM cache_sync.attached a;

-- Refused patches, of the tables that the reader may read: they hold values of rows, of which row-level security may
-- hide some. Who knows a session can take it over, so only those are told who may write the table themselves.
CREATE VIEW cache_sync.dead_letters AS
    SELECT d.id, a.tbl,
           CASE WHEN pg_catalog.has_table_privilege(a.tbl, 'INSERT, UPDATE, DELETE') THEN d.session END AS session, d.seq, d.ord, d.at, d.sqlstate, d.message, d.op, d.patch
    FROM cache_sync.dead_letter d JOIN cache_sync.attached a USING (table_id)
    WHERE pg_catalog.has_table_privilege(a.tbl, 'SELECT')
      AND NOT pg_catalog.row_security_active(a.tbl::pg_catalog.oid);

-- It counts sessions and dead letters of tables that the caller may read.
CREATE OR REPLACE FUNCTION cache_sync.status() RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object(
        'library', v.library, 'script', v.script, 'protocol', v.protocol,
        'preloaded', cache_sync.is_preloaded(), 'feed_kind', cache_sync.feed_kind(), 'epoch', cache_sync.epoch(), 'hlc', cache_sync.hlc(),
        'tables', (SELECT count(*) FROM cache_sync.attached),
        'sessions', (SELECT coalesce(sum(t.sessions), 0) FROM cache_sync.tables t),
        'dead_letters', (SELECT coalesce(sum(t.dead_letters), 0) FROM cache_sync.tables t),
        'feed', (SELECT to_jsonb(f) FROM cache_sync.feed_stats f))
    FROM cache_sync.versions() v
$$;

DROP VIEW cache_sync.listeners, cache_sync.feed_stats;
DROP FUNCTION cache_sync.listeners_now();
DROP FUNCTION cache_sync.feed_stats_now();

CREATE FUNCTION cache_sync.listeners_now()
    RETURNS TABLE (pid integer, database oid, feed_position bigint, lag bigint, armed boolean, delivered bigint, gaps bigint)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'listeners_now';

-- The open feeds of the whole server. `armed`: it has read everything and waits to be woken.
CREATE VIEW cache_sync.listeners AS
    SELECT l.pid, d.datname AS database, l.feed_position, l.lag, l.armed, l.delivered, l.gaps
    FROM cache_sync.listeners_now() l LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) l.database;

CREATE FUNCTION cache_sync.feed_stats_now()
    RETURNS TABLE (epoch bigint, head bigint, ring_size bigint, listeners integer, published bigint, delivered bigint,
                   gaps bigint, flushes bigint, held bigint, slowest_pid integer, slowest_lag bigint)
    LANGUAGE c VOLATILE STRICT ROWS 1 AS 'MODULE_PATHNAME', 'feed_stats_now';

CREATE VIEW cache_sync.feed_stats AS SELECT * FROM cache_sync.feed_stats_now();

CREATE FUNCTION cache_sync.table_stats_now() RETURNS TABLE (table_id integer, changes bigint, flushes bigint)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'table_stats_now';

-- How much changed in each table that the reader may read, since the server started.
CREATE VIEW cache_sync.table_stats AS
    SELECT a.table_id, a.tbl, n.changes, n.flushes
    FROM cache_sync.attached a LEFT JOIN cache_sync.table_stats_now() n ON n.table_id OPERATOR(pg_catalog.=) a.table_id
    WHERE pg_catalog.has_table_privilege(a.tbl, 'SELECT') AND NOT pg_catalog.row_security_active(a.tbl::pg_catalog.oid);

CREATE OR REPLACE FUNCTION cache_sync.create_triggers(tbl regclass, table_id integer, versioned boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Row triggers of a partitioned table are cloned to its partitions, also to those that come later.
    EXECUTE format('CREATE TRIGGER cache_sync_change AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW '
                   'EXECUTE FUNCTION cache_sync.note_change(%L)', tbl, table_id);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER cache_sync_change', tbl);
    IF versioned THEN
        EXECUTE format('CREATE TRIGGER "~cache_sync_version" BEFORE UPDATE ON %s FOR EACH ROW '
                       'EXECUTE FUNCTION cache_sync.set_version(%L)', tbl, table_id);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER "~cache_sync_version"', tbl);
    END IF;
    PERFORM cache_sync.truncate_triggers(tbl, table_id);
END
$$;

SELECT cache_sync.truncate_triggers(a.tbl, a.table_id) FROM cache_sync.attached a
WHERE a.tbl IN (SELECT p.partrelid FROM pg_catalog.pg_partitioned_table p);

-- Also one that somebody else has made; without asking, since the one who asks may be too late.
DO $$
BEGIN
    IF NOT pg_has_role('cache_sync_admin', 'cache_sync_user', 'MEMBER') THEN
        GRANT cache_sync_user TO cache_sync_admin;
    END IF;
EXCEPTION WHEN unique_violation THEN
    NULL;
END
$$;
CREATE TRIGGER forget_rest AFTER DELETE ON cache_sync.attached
    FOR EACH ROW EXECUTE FUNCTION cache_sync.forget_rest();
ALTER TABLE cache_sync.attached ENABLE ALWAYS TRIGGER forget_rest;
CREATE EVENT TRIGGER cache_sync_before_ddl ON ddl_command_start WHEN TAG IN ('ALTER TABLE')
    EXECUTE FUNCTION cache_sync.note_ddl();
CREATE EVENT TRIGGER cache_sync_ddl ON ddl_command_end EXECUTE FUNCTION cache_sync.note_ddl();
CREATE EVENT TRIGGER cache_sync_drop ON sql_drop EXECUTE FUNCTION cache_sync.note_ddl();
ALTER EVENT TRIGGER cache_sync_before_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER cache_sync_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER cache_sync_drop ENABLE ALWAYS;

-- Known from now on: the keys that tables are attached with.
UPDATE cache_sync.attached a SET key = cache_sync.key_now(a.tbl) WHERE a.tbl IN (SELECT c.oid FROM pg_class c);

-- What has been made by create_table with a time to live expires from now on.
UPDATE cache_sync.attached a SET expires = f.field_id
FROM cache_sync.field f
WHERE f.table_id = a.table_id AND f.name = 'expires_at' AND NOT f.dropped AND a.default_ttl IS NOT NULL;

-- Rights as they are given by the install script, and no others of these roles.
REVOKE ALL ON ALL TABLES IN SCHEMA cache_sync FROM PUBLIC, cache_sync_user, cache_sync_admin;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA cache_sync FROM PUBLIC, cache_sync_user, cache_sync_admin;
REVOKE ALL ON ALL PROCEDURES IN SCHEMA cache_sync FROM PUBLIC, cache_sync_user, cache_sync_admin;
GRANT EXECUTE ON FUNCTION cache_sync.hlc() TO PUBLIC;

-- Whoever makes a partition of an attached table makes triggers, too, and must be able to execute what they call. Nobody can name
-- these functions without USAGE on the schema; who can, and calls them from triggers of his own, makes others load rows again.
GRANT EXECUTE ON FUNCTION cache_sync.note_change(), cache_sync.note_truncate(), cache_sync.set_version() TO PUBLIC;
GRANT USAGE ON SCHEMA cache_sync TO cache_sync_user;
GRANT SELECT ON cache_sync.attached, cache_sync.field, cache_sync.tables, cache_sync.dead_letters,
    cache_sync.listeners, cache_sync.feed_stats, cache_sync.table_stats TO cache_sync_user;
GRANT EXECUTE ON FUNCTION
    cache_sync.versions(), cache_sync.library(), cache_sync.epoch(), cache_sync.is_preloaded(), cache_sync.feed_kind(),
    cache_sync.feed_head(), cache_sync.key_hash(regclass, jsonb), cache_sync.tag_hash(regclass, name, text),
    cache_sync.listen_state(integer[]), cache_sync.server_state(),
    cache_sync.changes(bigint, bigint, integer),
    cache_sync.listeners_now(), cache_sync.feed_stats_now(), cache_sync.table_stats_now(), cache_sync.status(), cache_sync.describe(regclass),
    cache_sync.open_session(regclass, uuid), cache_sync.load_state(uuid, integer),
    cache_sync.apply(regclass, uuid, bigint, bigint, jsonb, text[]),
    cache_sync.upsert(regclass, jsonb), cache_sync.edit(regclass, jsonb, jsonb), cache_sync.delete(regclass, jsonb),
    cache_sync.compare_and_set(regclass, jsonb, bigint), cache_sync.merge(jsonb, jsonb, jsonb),
    cache_sync.merge_values(jsonb, jsonb, jsonb), cache_sync.spelled(jsonb), cache_sync.resolved(jsonb),
    cache_sync.signature(oid), cache_sync.called(text), cache_sync.merged_type(text), cache_sync.finite(numeric),
    cache_sync.qualified_type(oid, integer), cache_sync.check_function(text, oid, name),
    cache_sync.check_rule(jsonb, oid, boolean, name), cache_sync.element_type(oid),
    cache_sync.refuse_table(regclass, boolean, name[]), cache_sync.refuse_columns(regclass, boolean),
    cache_sync.relations(regclass), cache_sync.key_columns(regclass), cache_sync.key_kind(oid), cache_sync.base_type(oid),
    cache_sync.requeue_dead_letter(bigint, boolean), cache_sync.discard_dead_letter(bigint), cache_sync.check_tables(),
    cache_sync.has_own_columns(regclass), cache_sync.has_version_default(regclass), cache_sync.key_now(regclass),
    cache_sync.refuse_key(cache_sync.attached), cache_sync.refuse_tags(regclass, name[]), cache_sync.tag_kind(oid, oid),
    cache_sync.clock_first(bytea, boolean, smallint, bigint),
    cache_sync.document_changes(text, boolean, boolean, jsonb, jsonb, bigint, bytea, bigint, smallint),
    cache_sync.document_value(text, boolean, boolean, jsonb, jsonb, bigint, bytea, bigint, smallint),
    cache_sync.document_loses(text, boolean, boolean, jsonb, jsonb, bigint, bytea, bigint, smallint),
    cache_sync.document_clock(bytea, text, boolean, boolean, jsonb, jsonb, bigint, bytea, bigint, smallint),
    cache_sync.document_lost(smallint), cache_sync.document_fresh(text, jsonb, boolean),
    cache_sync.document_clock_fresh(bytea, text, jsonb, bigint, smallint),
    cache_sync.patches(json), cache_sync.joined(jsonb, jsonb), cache_sync.last_of(jsonb, integer), cache_sync.last_of(anyarray, integer),
    cache_sync.united(jsonb, jsonb), cache_sync.united(anyarray, jsonb),
    cache_sync.unites(jsonb, jsonb), cache_sync.unites(anyarray, jsonb), cache_sync.not_null(anyelement, text),
    cache_sync.compare(bigint, bytea, bigint, smallint), cache_sync.wins(bigint[], bytea, bigint, smallint[]),
    cache_sync.loses(bigint[], bytea, bigint, smallint[]),
    cache_sync.clock_after(bigint[], bytea, bigint, smallint[], smallint[]),
    cache_sync.clock_new(bigint[], smallint[], smallint[]), cache_sync.replaced_version(),
    cache_sync.replaced_tie(), cache_sync.all_win(bigint[], bigint), cache_sync.differs(anyelement, anyelement),
    cache_sync.is_larger(anyelement, anyelement)
    TO cache_sync_user;
GRANT EXECUTE ON PROCEDURE cache_sync.stream(integer[], bigint, bigint) TO cache_sync_user;
-- Attaching also needs to own the table.
GRANT EXECUTE ON FUNCTION
    cache_sync.attach(regclass, boolean, jsonb, name[], boolean), cache_sync.detach(regclass, boolean),
    cache_sync.attach_table(regclass, boolean, jsonb, name[], boolean, interval),
    cache_sync.detach_all(boolean), cache_sync.create_table(text, interval),
    cache_sync.set_rule(regclass, name, jsonb), cache_sync.set_expiry(regclass, name), cache_sync.set_tags(regclass, name[]), cache_sync.wait_for_writers(regclass),
    cache_sync.resolved_all(jsonb), cache_sync.record_tags(regclass, jsonb),
    cache_sync.record_expiry(regclass, jsonb), cache_sync.repair(regclass), cache_sync.drop_triggers(regclass),
    cache_sync.run_maintenance(integer), cache_sync.prune_sessions(integer), cache_sync.prune_expired(regclass, integer),
    cache_sync.invalidate_table(regclass),
    cache_sync.record_attached(regclass, jsonb), cache_sync.record_detached(regclass, jsonb),
    cache_sync.record_rule(regclass, jsonb), cache_sync.create_triggers(regclass, integer, boolean), cache_sync.truncate_triggers(regclass, integer),
    cache_sync.bound_lock_wait(), cache_sync.forget_dropped(), cache_sync.note_change(), cache_sync.note_truncate(),
    cache_sync.set_version() TO cache_sync_admin;
