-- Upgrades cache_sync 0.1.0 to 0.2.0. What changed stands here as it does in the install script.
\echo Use "ALTER EXTENSION cache_sync UPDATE" to load this file. \quit

ALTER TABLE cache_sync.attached ADD COLUMN expires smallint;
ALTER TABLE cache_sync.dead_letter ADD COLUMN shape jsonb, ADD COLUMN hlc bigint;

DROP FUNCTION cache_sync.check_rule(jsonb, oid, boolean, name);
DROP VIEW cache_sync.tables;

CREATE OR REPLACE FUNCTION cache_sync.versions(OUT library text, OUT script text, OUT protocol integer)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT version, '0.2.0', protocol FROM cache_sync.library() $$;

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
    proc regprocedure;
BEGIN
    IF pg_catalog.jsonb_typeof(rule) OPERATOR(pg_catalog.<>) 'object'
        OR rule OPERATOR(pg_catalog.->>) 'rule' OPERATOR(pg_catalog.<>) 'function' THEN
        RETURN rule;
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

-- The type of an array's elements; null for what is no array.
CREATE FUNCTION cache_sync.element_type(type oid) RETURNS oid
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.typelem FROM pg_type t
    WHERE t.oid = element_type.type AND t.typsubscript = 'array_subscript_handler'::regproc
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
    SELECT jsonb_agg(jsonb_build_object(
        'id', f.field_id, 'name', a.attname, 'column', quote_ident(a.attname), 'type', a.atttypid::bigint,
        'type_name', cache_sync.type_name(a.atttypid), 'declared', cache_sync.declared(a),
        'change', CASE WHEN b.word = 'union' THEN 'jsonb'
                       WHEN b.base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'bigint'
                       ELSE format_type(b.base, NULL) END,
        'rule', cache_sync.check_rule(f.rule, a.atttypid, att.versioned OR a.attgenerated <> '', a.attname),
        'is_array', cache_sync.element_type(b.base) IS NOT NULL,
        'function', (SELECT jsonb_build_object('name', format('%I.%I', n.nspname, p.proname),
                                               'argument', format_type(p.proargtypes[0], NULL), 'strict', p.proisstrict)
                     FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                     WHERE b.word = 'function' AND p.oid = to_regprocedure(f.rule ->> 'name')),
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
        'expires', (SELECT quote_ident(a.attname) FROM cache_sync.field f
                    JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attnum = f.attnum
                    WHERE f.table_id = att.table_id AND f.field_id = att.expires AND NOT f.dropped),
        'relations', (SELECT jsonb_agg(r.relid::oid::bigint) FROM cache_sync.relations(att.tbl) r));
END
$$;

-- What the SDK asks of a table; see docs/design.md.
CREATE OR REPLACE FUNCTION cache_sync.description(tbl regclass) RETURNS jsonb
    LANGUAGE sql STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object(
        'table_id', l -> 'table_id', 'schema', n.nspname, 'name', c.relname, 'versioned', l -> 'versioned',
        'hash_key', encode(s.hash_key, 'hex'), 'epoch', cache_sync.epoch(), 'preloaded', cache_sync.is_preloaded(),
        'key', (SELECT jsonb_agg(k - '{column,declared,order}'::text[] ORDER BY ord)
                FROM jsonb_array_elements(l -> 'key') WITH ORDINALITY AS k (k, ord)),
        'expires', l -> 'expires',
        'fields', (SELECT coalesce(jsonb_agg(f - '{column,declared,change,exact,is_array,function}'::text[] ORDER BY ord), '[]')
                   FROM jsonb_array_elements(l -> 'fields') WITH ORDINALITY AS f (f, ord)))
    FROM cache_sync.layout(description.tbl) l, cache_sync.secret s, pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = description.tbl
$$;

CREATE FUNCTION cache_sync.record_expiry(tbl regclass, facts jsonb) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'record_expiry';

CREATE OR REPLACE FUNCTION cache_sync.write_rule(tbl regclass, facts jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att cache_sync.attached;
    col pg_attribute;
    wanted jsonb := facts -> 'rule';
BEGIN
    SELECT a.* INTO att FROM cache_sync.attached a WHERE a.tbl = write_rule.tbl;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not attached', tbl USING ERRCODE = 'CS005';
    END IF;
    PERFORM cache_sync.sync_fields(att.table_id);
    SELECT c.* INTO col FROM cache_sync.field_columns(att.tbl) c WHERE c.attname = facts ->> 'field';
    IF NOT FOUND THEN
        -- A member of the documents of a table that create_table made.
        SELECT c.* INTO col FROM cache_sync.field_columns(att.tbl) c
        JOIN cache_sync.field f ON f.table_id = att.table_id AND f.attnum = c.attnum AND NOT f.dropped
        WHERE f.rule ->> 'rule' = 'json' AND c.attname = 'value';
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

CREATE FUNCTION cache_sync.write_expiry(tbl regclass, facts jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att cache_sync.attached;
    id smallint;
BEGIN
    SELECT a.* INTO att FROM cache_sync.attached a WHERE a.tbl = write_expiry.tbl;
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

-- Attaches a table. It takes a lock that lets readers through (plain) or nobody (versioned), for an instant: nothing is
-- rewritten. Versioned tables get two columns, both nullable, so that nothing breaks when the extension is dropped.
CREATE OR REPLACE FUNCTION cache_sync.attach(
    tbl regclass, versioned boolean DEFAULT false, rules jsonb DEFAULT '{}', tags name[] DEFAULT '{}',
    if_not_attached boolean DEFAULT false) RETURNS void
    LANGUAGE sql AS $$
    SELECT cache_sync.attach_table(tbl, versioned, cache_sync.resolved_all(rules), tags, if_not_attached, NULL)
$$;

-- Takes back what attach did, and with drop_columns the two columns of a versioned table too.
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
        RAISE EXCEPTION '% is not attached', tbl USING ERRCODE = 'CS005';
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
    parts text[] := pg_catalog.parse_ident(name);
    schema name;
    tbl regclass;
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

CREATE FUNCTION cache_sync.document_fresh(rule text, incoming jsonb, is_each boolean) RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'document_fresh';

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

CREATE FUNCTION cache_sync.not_null(value anyelement, function text) RETURNS anyelement
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'not_null';

-- Sets the fields of the row if it has the expected version; 0 or null: if there is no such row. The loser is told
-- `conflict`, and gets the row as it is.
CREATE FUNCTION cache_sync.compare_and_set(
    tbl regclass, doc jsonb, expected_version bigint, OUT outcome text, OUT version bigint, OUT row_after jsonb)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'compare_and_set';

-- What a rule makes of two values, as JSON; a function runs as the caller, on the types that it takes.
CREATE FUNCTION cache_sync.merge(rule jsonb, current_value jsonb, incoming jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    spelled jsonb := cache_sync.spelled(cache_sync.resolved(rule));
    word text := coalesce(spelled OPERATOR(pg_catalog.->>) 'rule', spelled OPERATOR(pg_catalog.#>>) '{}');
    type text;
    merged jsonb;
BEGIN
    IF word OPERATOR(pg_catalog.=) 'function' THEN
        SELECT pg_catalog.format_type(p.proargtypes[0], NULL) INTO type FROM pg_catalog.pg_proc p
        WHERE p.oid OPERATOR(pg_catalog.=) pg_catalog.to_regprocedure(spelled OPERATOR(pg_catalog.->>) 'name');
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no function %', spelled OPERATOR(pg_catalog.->>) 'name'
                USING ERRCODE = 'undefined_function';
        END IF;
        EXECUTE pg_catalog.format(
            'SELECT pg_catalog.to_jsonb(%s(r.a, r.b)) FROM pg_catalog.jsonb_to_record($1) AS r(a %s, b %s)',
            cache_sync.called(spelled OPERATOR(pg_catalog.->>) 'name'), type, type)
        INTO merged USING pg_catalog.jsonb_build_object('a', current_value, 'b', incoming);
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
-- were dropped: of each kind and table `max_rows` at most, so that no transaction gets long. Rows are deleted as the
-- caller. To be called now and then, until it says 0 everywhere.
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
        SELECT a.tbl, col.attname
        FROM cache_sync.attached a
        JOIN cache_sync.field f ON f.table_id = a.table_id AND f.field_id = a.expires AND NOT f.dropped
        JOIN pg_attribute col ON col.attrelid = a.tbl AND col.attnum = f.attnum
        WHERE has_table_privilege(a.tbl, 'DELETE') AND has_table_privilege(a.tbl, 'SELECT')
        ORDER BY a.table_id
    LOOP
        EXECUTE format('WITH old AS MATERIALIZED (SELECT t.tableoid, t.ctid FROM %1$s t WHERE t.%2$I <= now() LIMIT $1 '
                       'FOR UPDATE SKIP LOCKED) DELETE FROM %1$s t USING old WHERE t.tableoid = old.tableoid AND t.ctid = old.ctid',
                       att.tbl, att.attname) USING max_rows;
        what := 'expired rows';
        tbl := att.tbl;
        GET DIAGNOSTICS pruned = ROW_COUNT;
        RETURN NEXT;
    END LOOP;
    what := 'sessions';
    tbl := NULL;
    pruned := cache_sync.prune_sessions(max_rows);
    RETURN NEXT;
    PERFORM cache_sync.forget_dropped();
END
$$;

-- What is wrong with attached tables, and what to do about it; nothing when all is well.
CREATE FUNCTION cache_sync.check_tables() RETURNS TABLE (tbl regclass, problem text, hint text)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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
        END IF;
        BEGIN
            PERFORM cache_sync.refuse_table(att.tbl, att.versioned, att.tags);
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
            IF att.versioned AND (
                SELECT count(*) FROM pg_attribute a
                WHERE a.attrelid = part.relid AND NOT a.attisdropped AND (a.attname, a.atttypid) IN
                    (('cs_version', 'int8'::regtype), ('cs_clock', 'bytea'::regtype))) < 2 THEN
                problem := format('%s lacks cs_version or cs_clock', part.relid);
                hint := format('SELECT cache_sync.repair(%L);', att.tbl);
                RETURN NEXT;
            ELSIF att.versioned AND NOT EXISTS (
                SELECT FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                WHERE d.adrelid = part.relid AND a.attname = 'cs_version'
                  AND pg_get_expr(d.adbin, d.adrelid) = 'cache_sync.hlc()') THEN
                problem := format('cs_version of %s has lost its default', part.relid);
                hint := format('SELECT cache_sync.repair(%L);', att.tbl);
                RETURN NEXT;
            END IF;
        END LOOP;
    END LOOP;
    IF NOT cache_sync.is_preloaded() THEN
        tbl := NULL;
        problem := 'cache_sync is not preloaded: caches will not hear of changes';
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
           (SELECT pg_catalog.count(*) FROM cache_sync.session s WHERE s.table_id = a.table_id) AS sessions,
           (SELECT pg_catalog.count(*) FROM cache_sync.dead_letter d WHERE d.table_id = a.table_id) AS dead_letters
    FROM cache_sync.attached a;

-- What has been made by create_table with a time to live expires from now on.
UPDATE cache_sync.attached a SET expires = f.field_id
FROM cache_sync.field f
WHERE f.table_id = a.table_id AND f.name = 'expires_at' AND NOT f.dropped AND a.default_ttl IS NOT NULL;

REVOKE ALL ON ALL TABLES IN SCHEMA cache_sync FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA cache_sync FROM PUBLIC;
REVOKE ALL ON ALL PROCEDURES IN SCHEMA cache_sync FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cache_sync.hlc() TO PUBLIC;
GRANT USAGE ON SCHEMA cache_sync TO cache_sync_user;
GRANT SELECT ON cache_sync.attached, cache_sync.field, cache_sync.tables, cache_sync.dead_letters,
    cache_sync.listeners, cache_sync.feed_stats TO cache_sync_user;
GRANT EXECUTE ON FUNCTION
    cache_sync.versions(), cache_sync.library(), cache_sync.epoch(), cache_sync.is_preloaded(),
    cache_sync.feed_head(), cache_sync.key_hash(regclass, jsonb), cache_sync.changes(bigint, bigint, integer),
    cache_sync.listeners_now(), cache_sync.feed_stats_now(), cache_sync.status(), cache_sync.describe(regclass),
    cache_sync.open_session(regclass, uuid), cache_sync.load_state(uuid, integer),
    cache_sync.apply(regclass, uuid, bigint, bigint, jsonb, json[]),
    cache_sync.upsert(regclass, jsonb), cache_sync.edit(regclass, jsonb, jsonb), cache_sync.delete(regclass, jsonb),
    cache_sync.compare_and_set(regclass, jsonb, bigint), cache_sync.merge(jsonb, jsonb, jsonb),
    cache_sync.merge_values(jsonb, jsonb, jsonb), cache_sync.spelled(jsonb), cache_sync.resolved(jsonb),
    cache_sync.signature(oid), cache_sync.called(text),
    cache_sync.requeue_dead_letter(bigint, boolean), cache_sync.discard_dead_letter(bigint), cache_sync.check_tables(),
    cache_sync.clock_first(bytea, boolean, smallint, bigint),
    cache_sync.document_changes(text, boolean, boolean, jsonb, jsonb, bigint, bytea, bigint, smallint),
    cache_sync.document_value(text, boolean, boolean, jsonb, jsonb, bigint, bytea, bigint, smallint),
    cache_sync.document_loses(text, boolean, boolean, jsonb, jsonb, bigint, bytea, bigint, smallint),
    cache_sync.document_clock(bytea, text, boolean, boolean, jsonb, jsonb, bigint, bytea, bigint, smallint),
    cache_sync.document_lost(smallint), cache_sync.document_fresh(text, jsonb, boolean),
    cache_sync.joined(jsonb, jsonb), cache_sync.last_of(jsonb, integer), cache_sync.last_of(anyarray, integer),
    cache_sync.united(jsonb, jsonb), cache_sync.united(anyarray, jsonb), cache_sync.not_null(anyelement, text),
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
    cache_sync.set_rule(regclass, name, jsonb), cache_sync.set_expiry(regclass, name), cache_sync.resolved_all(jsonb),
    cache_sync.record_expiry(regclass, jsonb), cache_sync.repair(regclass), cache_sync.drop_triggers(regclass),
    cache_sync.run_maintenance(integer), cache_sync.prune_sessions(integer), cache_sync.invalidate_table(regclass),
    cache_sync.record_attached(regclass, jsonb), cache_sync.record_detached(regclass, jsonb),
    cache_sync.record_rule(regclass, jsonb), cache_sync.create_triggers(regclass, integer, boolean),
    cache_sync.refuse_table(regclass, boolean, name[]), cache_sync.refuse_columns(regclass, boolean),
    cache_sync.relations(regclass), cache_sync.key_columns(regclass), cache_sync.key_kind(oid),
    cache_sync.base_type(oid), cache_sync.bound_lock_wait(), cache_sync.forget_dropped(), cache_sync.note_change(), cache_sync.note_truncate(),
    cache_sync.set_version() TO cache_sync_admin;
