-- Attaching tables and detaching them, and what can be said of attached ones.

CREATE OR REPLACE FUNCTION cache_sync_internal.add_own_columns(tbl regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS cs_version bigint, '
                   'ADD COLUMN IF NOT EXISTS cs_clock bytea', tbl);
    EXECUTE format('ALTER TABLE %s ALTER COLUMN cs_version SET DEFAULT cache_sync.hlc()', tbl);
END
$$;

-- Whether it is attached by now, and as it is to be; raises if it is, and otherwise or not to be.
CREATE OR REPLACE FUNCTION cache_sync_internal.is_attached(tbl regclass, versioned boolean, if_not_attached boolean) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was boolean := cache_sync_internal.attached_versioned(tbl);
BEGIN
    IF was IS NOT NULL AND (NOT if_not_attached OR was <> versioned) THEN
        RAISE EXCEPTION '% is attached already, %', tbl, CASE WHEN was THEN 'versioned' ELSE 'plain' END
            USING ERRCODE = 'duplicate_object', HINT = 'Detach it first, or use set_rule to change its rules.';
    END IF;
    RETURN was IS NOT NULL;
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.attach_table(
    tbl regclass, versioned boolean, rules jsonb, tags name[], if_not_attached boolean, default_ttl interval)
    RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    id integer;
    lock_timeout text;
BEGIN
    IF num_nulls(tbl, versioned, rules, tags, if_not_attached) > 0 THEN
        RAISE EXCEPTION 'no argument of attach may be null' USING ERRCODE = 'null_value_not_allowed';
    ELSIF jsonb_typeof(rules) <> 'object' THEN
        RAISE EXCEPTION 'rules must be a JSON object' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'For example {"likes": "add"}.';
    END IF;
    IF cache_sync_internal.is_attached(tbl, versioned, if_not_attached) THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM pg_class c WHERE c.oid = tbl AND NOT pg_has_role(c.relowner, 'USAGE')) THEN
        RAISE EXCEPTION 'must be owner of table %', tbl USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM cache_sync_internal.refuse_table(tbl, versioned, tags);
    lock_timeout := cache_sync_internal.bound_lock_wait();
    EXECUTE format('LOCK TABLE %s IN %s MODE', tbl,
                   CASE WHEN versioned THEN 'ACCESS EXCLUSIVE' ELSE 'SHARE ROW EXCLUSIVE' END);
    -- Several processes that start at a time wait for each other here.
    IF cache_sync_internal.is_attached(tbl, versioned, if_not_attached) THEN
        PERFORM set_config('lock_timeout', lock_timeout, true);
        RETURN;
    END IF;
    PERFORM cache_sync_internal.refuse_table(tbl, versioned, tags);
    PERFORM cache_sync_internal.warn_of_replication(tbl, versioned);
    IF versioned THEN
        PERFORM cache_sync_internal.add_own_columns(tbl);
    END IF;
    id := cache_sync_internal.record(tbl, 'attached', jsonb_build_object(
        'versioned', versioned, 'tags', to_jsonb(tags), 'rules', rules, 'default_ttl', default_ttl));
    -- A table that was a partition of an attached one has kept some triggers, and a schema that was restored without its data
    -- has them under a number that nobody knows.
    PERFORM cache_sync_internal.drop_triggers(tbl);
    PERFORM cache_sync_internal.create_triggers(tbl, id, versioned);
    PERFORM set_config('lock_timeout', lock_timeout, true);
    IF cache_sync_internal.feed_kind() = 'notify' THEN
        RAISE WARNING 'cache_sync is not preloaded: changes are told by NOTIFY, which slows writers down'
            USING HINT = 'Add cache_sync to shared_preload_libraries and restart the server.';
    END IF;
END
$$;

-- It takes a lock that lets readers through (plain) or nobody (versioned) until the caller's transaction ends; nothing is rewritten.
-- Versioned tables get two columns, both nullable, so that nothing breaks when the extension is dropped.
CREATE OR REPLACE FUNCTION cache_sync.attach(
    tbl regclass, versioned boolean DEFAULT false, rules jsonb DEFAULT '{}', tags name[] DEFAULT '{}',
    if_not_attached boolean DEFAULT false) RETURNS void
    LANGUAGE sql AS $$
    SELECT cache_sync_internal.attach_table(
        tbl, versioned, cache_sync_internal.resolved_all(rules), tags, if_not_attached, NULL)
$$;
COMMENT ON FUNCTION cache_sync.attach IS
    'Attaches a table that you own: from now on caches hear of every change of its rows; versioned adds two columns.';

-- What is to be taken off a table and its partitions, beside triggers: defaults, the table's own first, which go with theirs for most
-- partitions; and what there is of the two columns, unless it is from another table: of a versioned table either, of others both.
CREATE OR REPLACE FUNCTION cache_sync_internal.to_strip(tbl regclass) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object(
        'defaults', (SELECT jsonb_agg(jsonb_build_object('relid', d.relid::oid::bigint, 'name', d.attname) ORDER BY d.relid <> tbl)
                     FROM cache_sync_internal.relations(tbl) r, cache_sync_internal.version_defaults(r.relid) d
                     WHERE r.relid = tbl OR d.attname NOT IN (SELECT o.attname FROM cache_sync_internal.version_defaults(tbl) o)),
        'columns', CASE WHEN NOT c.relispartition AND (
            cache_sync_internal.has_own_columns(tbl) OR EXISTS (SELECT FROM cache_sync.attached a WHERE a.tbl = to_strip.tbl AND a.versioned))
            THEN to_jsonb(cache_sync_internal.own_columns(tbl)) END)
    FROM pg_class c WHERE c.oid = tbl
$$;

-- Takes off what attach made on this table, and what was copied of that: triggers, defaults, and with drop_columns the two columns.
CREATE OR REPLACE FUNCTION cache_sync_internal.strip(tbl regclass, drop_columns boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found record;
    wanted jsonb;
BEGIN
    PERFORM cache_sync_internal.drop_triggers(tbl);
    wanted := cache_sync_internal.as_of_now('SELECT cache_sync_internal.to_strip($1::oid)', tbl::oid::integer);
    FOR found IN SELECT d.relid::oid::regclass AS relid, d.name
                 FROM jsonb_to_recordset(nullif(wanted -> 'defaults', 'null')) AS d (relid bigint, name name) LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', found.relid, found.name);
    END LOOP;
    IF drop_columns AND wanted -> 'columns' <> 'null' THEN
        EXECUTE (SELECT format('ALTER TABLE %s %s', tbl, string_agg(format('DROP COLUMN %I', c.name), ', '))
                 FROM jsonb_array_elements_text(wanted -> 'columns') c (name));
    END IF;
END
$$;

-- Takes back what attach did, and with drop_columns the two columns of a versioned table too. A table that was a partition
-- of an attached one, or was made like one, has something of that: it can be taken back in the same way.
CREATE OR REPLACE FUNCTION cache_sync.detach(tbl regclass, drop_columns boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was boolean;
    lock_timeout text;
BEGIN
    IF num_nulls(tbl, drop_columns) > 0 THEN
        RAISE EXCEPTION 'no argument of detach may be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    was := cache_sync_internal.attached_versioned(tbl);
    IF was IS NULL AND NOT EXISTS (SELECT FROM cache_sync_internal.leftovers() l WHERE l.tbl = detach.tbl) THEN
        IF EXISTS (SELECT FROM pg_class c WHERE c.oid = detach.tbl AND c.relispartition) THEN
            RAISE EXCEPTION '% is a partition', tbl
                USING ERRCODE = 'CS005',
                      HINT = format('Detach the whole table: SELECT cache_sync.detach(%L).', pg_partition_root(tbl));
        ELSIF NOT drop_columns OR NOT cache_sync_internal.has_own_columns(tbl) THEN
            PERFORM cache_sync_internal.attached_row(tbl);
        END IF;
    END IF;
    lock_timeout := cache_sync_internal.bound_lock_wait();
    PERFORM cache_sync_internal.strip(tbl, drop_columns AND was IS DISTINCT FROM false);
    PERFORM cache_sync_internal.record(tbl, 'detached', '{}');
    PERFORM set_config('lock_timeout', lock_timeout, true);
END
$$;
COMMENT ON FUNCTION cache_sync.detach IS
    'Takes back what attach did to a table that you own; its rows stay, and the two columns unless drop_columns says so.';

-- What there is to detach: tables that are attached, and others that have something of one.
CREATE OR REPLACE FUNCTION cache_sync_internal.detachable() RETURNS TABLE (tbl regclass)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.tbl FROM cache_sync.attached a JOIN pg_class c ON c.oid = a.tbl
    UNION SELECT l.tbl FROM cache_sync_internal.leftovers() l
    ORDER BY 1
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.detach_or_warn(tbl regclass, drop_columns boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    code text;
    reason text;
BEGIN
    PERFORM cache_sync.detach(tbl, drop_columns);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, reason = MESSAGE_TEXT;
    RAISE WARNING '% stays attached: %', tbl, reason USING ERRCODE = code;
END
$$;

CREATE OR REPLACE FUNCTION cache_sync.detach_all(drop_columns boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF drop_columns IS NULL THEN
        RAISE EXCEPTION 'no argument of detach_all may be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM cache_sync_internal.detach_or_warn(d.tbl, drop_columns) FROM cache_sync_internal.detachable() d;
    PERFORM cache_sync_internal.forget_dropped();
END
$$;
COMMENT ON FUNCTION cache_sync.detach_all IS
    'Detaches all tables, as detach does, say before DROP EXTENSION; warns of those that it has to leave.';

-- A procedure that commits can have no search_path of its own.
CREATE OR REPLACE PROCEDURE cache_sync.detach_one_by_one(drop_columns boolean DEFAULT false)
    LANGUAGE plpgsql AS $$
DECLARE
    tables pg_catalog.regclass[] := ARRAY(SELECT d.tbl FROM cache_sync_internal.detachable() d);
    tbl pg_catalog.regclass;
BEGIN
    IF drop_columns IS NULL THEN
        RAISE EXCEPTION 'no argument of detach_one_by_one may be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    FOREACH tbl IN ARRAY tables LOOP
        PERFORM cache_sync_internal.detach_or_warn(tbl, drop_columns);
        COMMIT;
    END LOOP;
    PERFORM cache_sync_internal.forget_dropped();
END
$$;
COMMENT ON PROCEDURE cache_sync.detach_one_by_one IS
    'Detaches all tables, each in a transaction of its own, so that none is locked for longer than it takes.';

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
    PERFORM cache_sync_internal.attach_table(
        tbl, true, '{"value": {"rule": "json", "depth": 1}}', '{}', false, default_ttl);
    PERFORM cache_sync.set_expiry(tbl, 'expires_at');
    RETURN tbl;
END
$$;
COMMENT ON FUNCTION cache_sync.create_table IS
    'Makes a versioned table for JSON documents by key, attached, whose rows may expire: by default default_ttl after they came.';

-- In a table that create_table made, a member of its documents is a field, too.
CREATE OR REPLACE FUNCTION cache_sync.set_rule(tbl regclass, field name, rule jsonb) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    IF pg_catalog.num_nulls(tbl, field, rule) OPERATOR(pg_catalog.>) 0 THEN
        RAISE EXCEPTION 'no argument of set_rule may be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM cache_sync_internal.record(
        tbl, 'rule', pg_catalog.jsonb_build_object('field', field, 'rule', cache_sync_internal.resolved(rule)));
END
$$;
COMMENT ON FUNCTION cache_sync.set_rule IS
    'Says how a field merges from the next patch on, such as "add" or {"rule": "function", "name": "f(int,int)"}.';

CREATE OR REPLACE FUNCTION cache_sync.set_expiry(tbl regclass, field name) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF tbl IS NULL THEN
        RAISE EXCEPTION 'tbl must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM cache_sync_internal.record(tbl, 'expiry', jsonb_build_object('field', field));
END
$$;
COMMENT ON FUNCTION cache_sync.set_expiry IS
    'Names the field, of type timestamptz, that says when a row expires; null: rows do not expire.';

CREATE OR REPLACE FUNCTION cache_sync.set_tags(tbl regclass, tags name[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF num_nulls(tbl, tags) > 0 THEN
        RAISE EXCEPTION 'no argument of set_tags may be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM cache_sync_internal.attached_row(tbl);
    PERFORM cache_sync_internal.refuse_tags(tbl, tags);
    -- A writer that has noted the tags of before must have told them before queries rely on others.
    PERFORM cache_sync_internal.wait_for_writers(tbl);
    PERFORM cache_sync_internal.record(tbl, 'tags', jsonb_build_object('tags', tags));
END
$$;
COMMENT ON FUNCTION cache_sync.set_tags IS 'Names the columns on whose values results of queries can depend.';

CREATE OR REPLACE FUNCTION cache_sync.repair(tbl regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    att cache_sync.attached;
    lock_timeout text;
BEGIN
    IF tbl IS NULL THEN
        RAISE EXCEPTION 'tbl must not be null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    att := cache_sync_internal.attached_row(tbl);
    lock_timeout := cache_sync_internal.bound_lock_wait();
    PERFORM cache_sync_internal.drop_triggers(tbl);
    IF att.versioned THEN
        PERFORM cache_sync_internal.add_own_columns(tbl);
    END IF;
    PERFORM cache_sync_internal.create_triggers(tbl, att.table_id, att.versioned);
    PERFORM cache_sync_internal.record(tbl, 'repaired', '{}');
    PERFORM set_config('lock_timeout', lock_timeout, true);
END
$$;
COMMENT ON FUNCTION cache_sync.repair IS
    'Makes an attached table that you own whole again, where check_tables says so: triggers, columns, default.';

