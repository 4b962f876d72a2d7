-- Rules: whether they may stand on a field, and what they make of two values.

-- The one spelling of a rule; an error says what is wrong with others.
CREATE OR REPLACE FUNCTION cache_sync_internal.spelled(rule jsonb) RETURNS jsonb
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'spelled';

-- Raises when what is named is no function of two values of a type that returns a third.
CREATE OR REPLACE FUNCTION cache_sync_internal.check_function(name text, type oid, field name) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    proc pg_proc;
    base oid := cache_sync_internal.base_type(type);
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
                  HINT = format('It must take two values of type %1$s, the current and the incoming one, and return one of type %1$s.',
                                shown);
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
CREATE OR REPLACE FUNCTION cache_sync_internal.check_rule(rule jsonb, type oid, versioned boolean, field name) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    spelled jsonb;
    word text;
    base oid := cache_sync_internal.base_type(type);
    element oid;
    shown text := format_type(type, NULL);
    hint text;
BEGIN
    BEGIN
        spelled := cache_sync_internal.spelled(rule);
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
        element := cache_sync_internal.element_type(base);
        IF element IS NULL THEN
            RAISE EXCEPTION 'the rule % cannot stand on field "%" of type %', word, field, shown
                USING ERRCODE = 'datatype_mismatch', HINT = 'It needs an array or a jsonb.';
        ELSIF word = 'union' AND (
            SELECT t.typtype = 'c' FROM pg_type t WHERE t.oid = cache_sync_internal.base_type(element)) THEN
            RAISE EXCEPTION 'the rule union cannot stand on field "%" of type %', field, shown
                USING ERRCODE = 'datatype_mismatch', HINT = 'The elements of a set must not be rows; take a jsonb.';
        END IF;
    ELSIF word = 'json' AND base <> 'jsonb'::regtype THEN
        RAISE EXCEPTION 'the rule json cannot stand on field "%" of type %', field, shown
            USING ERRCODE = 'datatype_mismatch', HINT = 'It needs a jsonb.';
    ELSIF word = 'function' THEN
        PERFORM cache_sync_internal.check_function(spelled ->> 'name', type, field);
    END IF;
    RETURN spelled;
END
$$;

-- Names the function of a rule so that everybody finds the same one, whatever their search_path; runs with the caller's.
CREATE OR REPLACE FUNCTION cache_sync_internal.resolved(rule jsonb) RETURNS jsonb
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
        rule, '{name}', pg_catalog.to_jsonb(cache_sync_internal.signature(proc::pg_catalog.oid))) END;
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.resolved_all(rules jsonb) RETURNS jsonb
    LANGUAGE sql STABLE STRICT AS $$
    SELECT CASE WHEN pg_catalog.jsonb_typeof(rules) OPERATOR(pg_catalog.=) 'object' THEN
        (SELECT coalesce(pg_catalog.jsonb_object_agg(r.key, cache_sync_internal.resolved(r.value)), '{}')
         FROM pg_catalog.jsonb_each(rules) r) ELSE rules END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.signature(proc oid) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$ SELECT proc::regprocedure::text $$;

-- What the library needs to know of a function that merges; null when it is not there.
CREATE OR REPLACE FUNCTION cache_sync_internal.function_facts(name text) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('name', format('%I.%I', n.nspname, p.proname),
                              'argument', cache_sync_internal.qualified_type(p.proargtypes[0], -1), 'strict', p.proisstrict)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.oid = to_regprocedure(function_facts.name)
$$;

-- A function by its name alone, quoted and qualified.
CREATE OR REPLACE FUNCTION cache_sync_internal.called(signature text) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%I.%I', n.nspname, p.proname)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = to_regprocedure(called.signature)
$$;

-- The type that a function merges; raises when it merges none.
CREATE OR REPLACE FUNCTION cache_sync_internal.merged_type(signature text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    type oid := (SELECT p.proargtypes[0] FROM pg_proc p WHERE p.oid = to_regprocedure(merged_type.signature));
BEGIN
    PERFORM cache_sync_internal.check_function(signature, coalesce(type, 0), 'value');
    RETURN cache_sync_internal.qualified_type(type, -1);
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.merge_values(rule jsonb, current_value jsonb, incoming jsonb) RETURNS jsonb
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'merge_values';

-- A function runs as the caller, on the types that it takes.
CREATE OR REPLACE FUNCTION cache_sync.merge(rule jsonb, current_value jsonb, incoming jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    spelled pg_catalog.jsonb := cache_sync_internal.spelled(cache_sync_internal.resolved(rule));
    word pg_catalog.text := coalesce(spelled OPERATOR(pg_catalog.->>) 'rule', spelled OPERATOR(pg_catalog.#>>) '{}');
    type pg_catalog.text;
    merged pg_catalog.jsonb;
BEGIN
    IF word OPERATOR(pg_catalog.=) 'function' THEN
        type := cache_sync_internal.merged_type(spelled OPERATOR(pg_catalog.->>) 'name');
        EXECUTE pg_catalog.format(
            'SELECT pg_catalog.to_jsonb(%s(r.a, r.b)) FROM pg_catalog.jsonb_to_record($1) AS r(a %s, b %s)',
            cache_sync_internal.called(spelled OPERATOR(pg_catalog.->>) 'name'), type, type)
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
            RAISE EXCEPTION 'the function % returned null', cache_sync_internal.called(spelled OPERATOR(pg_catalog.->>) 'name')
                USING ERRCODE = 'null_value_not_allowed';
        END IF;
        RETURN merged;
    ELSIF word OPERATOR(pg_catalog.=) 'add' AND pg_catalog.jsonb_typeof(current_value) OPERATOR(pg_catalog.=) 'string'
        AND pg_catalog.jsonb_typeof(incoming) OPERATOR(pg_catalog.=) 'string' THEN
        RETURN pg_catalog.to_jsonb((current_value OPERATOR(pg_catalog.#>>) '{}')::pg_catalog.interval
            OPERATOR(pg_catalog.+) (incoming OPERATOR(pg_catalog.#>>) '{}')::pg_catalog.interval);
    END IF;
    RETURN cache_sync_internal.merge_values(spelled, current_value, incoming);
END
$$;
COMMENT ON FUNCTION cache_sync.merge IS 'What a rule makes of two values, as JSON, the second being the later one.';

