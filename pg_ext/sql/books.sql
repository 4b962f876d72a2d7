-- Notes in our tables on behalf of a table's owner, who has no rights on them.

CREATE OR REPLACE FUNCTION cache_sync_internal.note_table(table_id integer) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'note_table';

-- Of a table that this transaction attached nobody holds anything. Whatever else writes to its row has noted the table
-- itself.
CREATE OR REPLACE FUNCTION cache_sync_internal.note_known(table_id integer) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF cache_sync_internal.as_of_now('SELECT to_jsonb(cache_sync_internal.is_own(a.xmin)) FROM cache_sync.attached a
                                      WHERE a.table_id = $1', table_id) = 'false' THEN
        PERFORM cache_sync_internal.note_table(table_id);
    END IF;
END
$$;

-- Checks that the caller owns the table and runs write() as owner of the extension.
CREATE OR REPLACE FUNCTION cache_sync_internal.record(tbl regclass, what text, facts jsonb) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'record';

CREATE OR REPLACE FUNCTION cache_sync_internal.write_attached(tbl regclass, facts jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id integer;
    rule record;
BEGIN
    PERFORM cache_sync_internal.forget_dropped();
    INSERT INTO cache_sync.attached (tbl, rel_oid, versioned, tags, default_ttl)
    VALUES (tbl, 0, (facts ->> 'versioned')::boolean,
            ARRAY(SELECT t::name FROM jsonb_array_elements_text(facts -> 'tags') t), (facts ->> 'default_ttl')::interval)
    RETURNING table_id INTO id;
    PERFORM cache_sync_internal.sync_fields(id);
    FOR rule IN SELECT r.key, r.value FROM jsonb_each(facts -> 'rules') r LOOP
        PERFORM cache_sync_internal.write(tbl, 'rule', jsonb_build_object('field', rule.key, 'rule', rule.value));
    END LOOP;
    RETURN to_jsonb(id);
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.write_rule(att cache_sync.attached, facts jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    col pg_attribute;
    wanted jsonb := facts -> 'rule';
BEGIN
    SELECT c.* INTO col FROM cache_sync_internal.field_columns(att.tbl) c WHERE c.attname = facts ->> 'field';
    IF NOT FOUND THEN
        -- A member of the documents of a table that create_table made.
        SELECT c.* INTO col FROM cache_sync_internal.field_columns(att.tbl) c
        JOIN cache_sync.field f ON f.table_id = att.table_id AND f.attnum = c.attnum AND NOT f.dropped
        WHERE f.rule ->> 'rule' = 'json' AND c.attname = 'value'
          AND EXISTS (SELECT FROM cache_sync_internal.field_columns(att.tbl) e WHERE e.attname = 'expires_at')
          AND (SELECT array_agg(k.attname::text) FROM cache_sync_internal.key_columns(att.tbl) o
               JOIN pg_attribute k ON k.attrelid = att.tbl AND k.attnum = o.attnum) = '{key}';
        IF FOUND THEN
            SELECT jsonb_set(f.rule, '{members}',
                             coalesce(f.rule -> 'members', '{}') || jsonb_build_object(facts ->> 'field', facts -> 'rule'))
            INTO wanted
            FROM cache_sync.field f WHERE f.table_id = att.table_id AND f.attnum = col.attnum AND NOT f.dropped;
        END IF;
    END IF;
    IF col.attname IS NULL THEN
        RAISE EXCEPTION '% has no field "%"', att.tbl, facts ->> 'field'
            USING ERRCODE = 'undefined_column', HINT = 'Fields are the columns that are not part of the key.';
    ELSIF col.attgenerated <> '' THEN
        RAISE EXCEPTION 'the field "%" of % is generated and takes no rule', col.attname, att.tbl
            USING ERRCODE = 'wrong_object_type';
    END IF;
    wanted := cache_sync_internal.check_rule(wanted, col.atttypid, att.versioned, col.attname);
    UPDATE cache_sync.field f SET rule = wanted
    WHERE f.table_id = att.table_id AND f.attnum = col.attnum AND NOT f.dropped;
    RETURN wanted;
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.write_expiry(att cache_sync.attached, facts jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id smallint;
BEGIN
    IF facts -> 'field' <> 'null' THEN
        SELECT f.field_id INTO id
        FROM cache_sync.field f JOIN cache_sync_internal.field_columns(att.tbl) c ON c.attnum = f.attnum
        WHERE f.table_id = att.table_id AND NOT f.dropped AND c.attname = facts ->> 'field'
          AND cache_sync_internal.base_type(c.atttypid) = 'timestamptz'::regtype;
        IF NOT FOUND THEN
            RAISE EXCEPTION '% has no field "%" of type timestamp with time zone', att.tbl, facts ->> 'field'
                USING ERRCODE = 'undefined_column';
        END IF;
    END IF;
    -- Rows that were there may count as gone now, and the other way round.
    PERFORM cache_sync_internal.note_known(att.table_id);
    UPDATE cache_sync.attached a SET expires = id WHERE a.table_id = att.table_id;
    RETURN coalesce(to_jsonb(id), 'null');
END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.write_tags(att cache_sync.attached, facts jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted name[] := ARRAY(SELECT t::name FROM jsonb_array_elements_text(facts -> 'tags') t);
BEGIN
    PERFORM cache_sync_internal.refuse_tags(att.tbl, wanted);
    UPDATE cache_sync.attached a SET tags = wanted, tag_attnums = '{}' WHERE a.table_id = att.table_id;
    PERFORM cache_sync_internal.sync_fields(att.table_id);
    PERFORM cache_sync_internal.note_table(att.table_id);
    RETURN to_jsonb(att.table_id);
END
$$;

-- What is written: that a table was attached or detached, or what changes of an attached one: a rule, the expiry, the tags; or that it
-- was repaired: until then changes may have gone by unheard.
CREATE OR REPLACE FUNCTION cache_sync_internal.write(tbl regclass, what text, facts jsonb) RETURNS jsonb
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att cache_sync.attached;
    id integer;
BEGIN
    IF what = 'attached' THEN
        RETURN cache_sync_internal.write_attached(tbl, facts);
    ELSIF what = 'detached' THEN
        id := cache_sync_internal.as_of_now(
            'WITH gone AS (DELETE FROM cache_sync.attached a WHERE a.tbl = $1::oid RETURNING a.table_id)
             SELECT to_jsonb(g.table_id) FROM gone g', tbl::oid::integer)::integer;
        -- The last that is told of it.
        PERFORM cache_sync_internal.note_table(id);
        RETURN to_jsonb(id IS NOT NULL);
    END IF;
    att := cache_sync_internal.attached_row(tbl);
    PERFORM cache_sync_internal.lock_books(att.tbl, att.table_id);
    att := cache_sync_internal.attached_row(tbl);
    PERFORM cache_sync_internal.sync_fields(att.table_id);
    CASE what
        WHEN 'rule' THEN RETURN cache_sync_internal.write_rule(att, facts);
        WHEN 'expiry' THEN RETURN cache_sync_internal.write_expiry(att, facts);
        WHEN 'tags' THEN RETURN cache_sync_internal.write_tags(att, facts);
        WHEN 'repaired' THEN
            PERFORM cache_sync_internal.note_table(att.table_id);
            RETURN to_jsonb(att.table_id);
        ELSE RAISE EXCEPTION 'nothing of the kind "%" is written', what USING ERRCODE = 'invalid_parameter_value';
    END CASE;
END
$$;

