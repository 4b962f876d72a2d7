-- What is wrong with attached tables, and what to do about it.

CREATE OR REPLACE FUNCTION cache_sync_internal.table_problems(att cache_sync.attached)
    RETURNS TABLE (problem text, hint text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found record;
BEGIN
    BEGIN
        PERFORM cache_sync_internal.refuse_table(att.tbl, att.versioned, att.tags);
        PERFORM cache_sync_internal.refuse_key(att);
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
        RETURN NEXT;
    END;
    FOR found IN
        SELECT f.rule, a.atttypid, a.attname, a.attgenerated
        FROM cache_sync.field f
        JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attnum = f.attnum AND NOT a.attisdropped
        WHERE f.table_id = att.table_id AND NOT f.dropped AND att.rel_oid = att.tbl::oid ORDER BY f.field_id
    LOOP
        BEGIN
            PERFORM cache_sync_internal.check_rule(
                found.rule, found.atttypid, att.versioned OR found.attgenerated <> '', found.attname);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT;
            hint := format('SELECT cache_sync.set_rule(%L, %L, ...) with a rule that fits.', att.tbl, found.attname);
            RETURN NEXT;
        END;
    END LOOP;
    IF att.expires IS NOT NULL AND NOT EXISTS (
        SELECT FROM cache_sync.field f JOIN pg_attribute a ON a.attrelid = att.tbl AND a.attnum = f.attnum
        WHERE f.table_id = att.table_id AND f.field_id = att.expires AND NOT f.dropped AND NOT a.attisdropped
          AND cache_sync_internal.base_type(a.atttypid) = 'timestamptz'::regtype) AND att.rel_oid = att.tbl::oid THEN
        problem := 'the field that says when rows expire is gone, or of another type';
        hint := format('SELECT cache_sync.set_expiry(%L, ...) with another field, or null.', att.tbl);
        RETURN NEXT;
    END IF;
END
$$;

-- Of the table itself, or of one of its partitions.
CREATE OR REPLACE FUNCTION cache_sync_internal.relation_problems(att cache_sync.attached, part regclass)
    RETURNS TABLE (problem text, hint text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT o.name FROM cache_sync_internal.own_triggers(att.versioned) o
        -- What a version before has made and a dump has brought along is not fired by INSERT (4).
        WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = part AND t.tgfoid = o.proc AND t.tgenabled = 'A'
                              AND (t.tgtype & 4 <> 0 OR o.each = 'STATEMENT'))
    LOOP
        problem := format('the trigger %s of %s is missing, or not enabled always', found.name, part);
        hint := format('SELECT cache_sync.repair(%L);', att.tbl);
        RETURN NEXT;
    END LOOP;
    FOR found IN
        SELECT t.tgname, o.name AS before
        FROM pg_trigger t JOIN cache_sync_internal.own_triggers(true) o ON o.proc = 'cache_sync.set_version'::regproc
        WHERE att.versioned AND t.tgrelid = part AND t.tgtype & 19 = 19 AND t.tgenabled <> 'D'
          AND t.tgparentid = 0 AND t.tgname > o.name
    LOOP
        problem := format('the trigger %I of %s fires after ours: fields that it changes are not stamped', found.tgname, part);
        hint := format('ALTER TRIGGER %I ON %s RENAME TO ... a name that sorts before %I.', found.tgname, part, found.before);
        RETURN NEXT;
    END LOOP;
    IF att.versioned AND NOT cache_sync_internal.has_own_columns(part) THEN
        problem := format('%s lacks cs_version or cs_clock', part);
        hint := format('SELECT cache_sync.repair(%L);', att.tbl);
        RETURN NEXT;
    ELSIF att.versioned AND NOT cache_sync_internal.has_version_default(part) THEN
        problem := format('cs_version of %s has lost its default', part);
        hint := format('SELECT cache_sync.repair(%L);', att.tbl);
        RETURN NEXT;
    END IF;
END
$$;

-- Of what is copied to and from other servers.
CREATE OR REPLACE FUNCTION cache_sync_internal.replication_problems(att cache_sync.attached)
    RETURNS TABLE (problem text, hint text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('the subscription %I is two-phase, and what changes %s cannot be prepared', s, att.tbl),
           'Create it anew with two_phase = false, else its worker fails again and again.'
    FROM cache_sync_internal.two_phase_into(att.tbl) s
    UNION ALL
    -- A subscriber without the columns fails again and again, so that its slot is read for moments only.
    SELECT format('nobody reads the replication slot %I, and %s is published with cs_version and cs_clock', s.slot_name, att.tbl),
           format('Where the subscriber lacks them: ALTER TABLE %s ADD COLUMN cs_version bigint, ADD COLUMN cs_clock bytea; there.',
                  att.tbl)
    FROM pg_replication_slots s
    WHERE att.versioned AND s.slot_type = 'logical' AND s.plugin = 'pgoutput' AND NOT s.active AND s.database = current_database()
      AND EXISTS (SELECT FROM cache_sync_internal.published_by(att.tbl))
$$;

CREATE OR REPLACE FUNCTION cache_sync.check_tables() RETURNS TABLE (tbl regclass, problem text, hint text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    att cache_sync.attached;
BEGIN
    FOR att IN SELECT a.* FROM cache_sync.attached a ORDER BY a.table_id LOOP
        IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = att.tbl) THEN
            tbl := att.tbl;
            problem := 'the table was dropped';
            hint := 'run_maintenance() forgets it.';
            RETURN NEXT;
        ELSIF has_any_column_privilege(att.tbl, 'SELECT') THEN
            RETURN QUERY SELECT att.tbl, p.problem, p.hint FROM cache_sync_internal.table_problems(att) p;
            RETURN QUERY SELECT att.tbl, p.problem, p.hint FROM cache_sync_internal.replication_problems(att) p;
            RETURN QUERY SELECT att.tbl, p.problem, p.hint
                FROM cache_sync_internal.relations(att.tbl) r, cache_sync_internal.relation_problems(att, r.relid) p;
            RETURN QUERY SELECT att.tbl, p.problem, p.hint FROM cache_sync_internal.backlog_problems(att.tbl) p;
        END IF;
    END LOOP;
    RETURN QUERY SELECT l.tbl, 'it is not attached, and has a trigger or a default of cache_sync, as a partition that was detached or a copy',
                        format('SELECT cache_sync.detach(%L); and with drop_columns => true also without the columns.', l.tbl)
        FROM cache_sync_internal.leftovers() l WHERE has_any_column_privilege(l.tbl, 'SELECT');
    IF cache_sync_internal.feed_kind() = 'notify' THEN
        tbl := NULL;
        problem := 'cache_sync is not preloaded: changes are told by NOTIFY, which slows writers down';
        hint := 'Add cache_sync to shared_preload_libraries and restart the server.';
        RETURN NEXT;
    END IF;
END
$$;
COMMENT ON FUNCTION cache_sync.check_tables IS
    'What is wrong with attached tables that you may read, and what to do about it; nothing when all is well.';

