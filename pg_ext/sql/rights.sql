-- Who may do what.

-- Roles belong to the whole server: another database may have made them, or be making them at this moment.
DO $$
BEGIN
    CREATE ROLE cache_sync_user NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;
DO $$
BEGIN
    CREATE ROLE cache_sync_admin NOLOGIN IN ROLE cache_sync_user;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

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

-- Nobody may do anything but what follows.
REVOKE ALL ON SCHEMA cache_sync, cache_sync_internal FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA cache_sync FROM PUBLIC, cache_sync_user, cache_sync_admin;
REVOKE ALL ON ALL ROUTINES IN SCHEMA cache_sync, cache_sync_internal FROM PUBLIC, cache_sync_user, cache_sync_admin;

GRANT USAGE ON SCHEMA cache_sync, cache_sync_internal TO cache_sync_user, pg_monitor;
GRANT SELECT ON cache_sync.attached, cache_sync.field, cache_sync.tables, cache_sync.dead_letters,
    cache_sync.listeners, cache_sync.feed_stats, cache_sync.table_stats, cache_sync.stuck_batches TO cache_sync_user;
-- Who watches the server sees how much happens in tables whose rows he may not see.
GRANT SELECT ON cache_sync.attached, cache_sync.tables, cache_sync.listeners, cache_sync.feed_stats, cache_sync.table_stats,
    cache_sync.stuck_batches TO pg_monitor;

-- pg_dump locks and reads what is dumped of an extension's tables. Whoever owns the database may dump it, dead letters of other
-- people's tables included.
GRANT USAGE ON SCHEMA cache_sync TO pg_database_owner;
GRANT SELECT ON cache_sync.attached, cache_sync.field, cache_sync.session, cache_sync.dead_letter TO pg_database_owner;
DO $$
BEGIN
    EXECUTE pg_catalog.format('GRANT SELECT ON SEQUENCE %s, %s TO pg_database_owner',
        pg_catalog.pg_get_serial_sequence('cache_sync.attached', 'table_id'),
        pg_catalog.pg_get_serial_sequence('cache_sync.dead_letter', 'id'));
END
$$;

-- What people call is for users, but for what makes, changes and empties attached tables. That also needs to own the table.
-- What somebody else has put into the schema is none of ours.
DO $$
DECLARE
    ours regprocedure;
BEGIN
    FOR ours IN
        SELECT p.oid FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'cache_sync'
        WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND p.pronamespace = 'cache_sync'::pg_catalog.regnamespace
    LOOP
        EXECUTE pg_catalog.format('GRANT EXECUTE ON ROUTINE %s TO cache_sync_user, cache_sync_admin', ours);
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION
    cache_sync.attach, cache_sync.create_table, cache_sync.set_rule, cache_sync.set_expiry, cache_sync.set_tags, cache_sync.detach,
    cache_sync.detach_all, cache_sync.repair, cache_sync.run_maintenance, cache_sync.reset_stats FROM cache_sync_user;
REVOKE EXECUTE ON PROCEDURE cache_sync.detach_one_by_one FROM cache_sync_user;

-- A column's default runs with the rights of who inserts, so whoever may insert into a versioned table must be able to
-- execute hlc(). It tells nothing but the time, and to call it by name one needs USAGE on the schema all the same.
GRANT EXECUTE ON FUNCTION cache_sync.hlc TO PUBLIC;

-- Whoever makes a partition of an attached table makes triggers, too, and must be able to execute what they call. Nobody can name
-- these functions without USAGE on the schema; who can, and calls them from triggers of his own, makes others load rows again.
GRANT EXECUTE ON FUNCTION cache_sync.note_change, cache_sync.note_truncate, cache_sync.set_version TO PUBLIC;

-- What is internal is for the extension's owner alone, but for what runs with the caller's rights: compiled statements, what
-- the SDK asks, views, and what the functions above call, here those of users ...
GRANT EXECUTE ON FUNCTION
    cache_sync_internal.library, cache_sync_internal.is_preloaded, cache_sync_internal.feed_kind,
    cache_sync_internal.server_state, cache_sync_internal.base_type, cache_sync_internal.element_type,
    cache_sync_internal.key_kind, cache_sync_internal.tag_kind, cache_sync_internal.qualified_type,
    cache_sync_internal.key_columns, cache_sync_internal.key_now, cache_sync_internal.relations,
    cache_sync_internal.own_columns, cache_sync_internal.has_own_columns, cache_sync_internal.has_version_default, cache_sync_internal.spelled,
    cache_sync_internal.check_function, cache_sync_internal.check_rule, cache_sync_internal.resolved,
    cache_sync_internal.signature, cache_sync_internal.called, cache_sync_internal.merged_type, cache_sync_internal.merge_values,
    cache_sync_internal.own_triggers, cache_sync_internal.refuse_key, cache_sync_internal.refuse_columns,
    cache_sync_internal.refuse_tags, cache_sync_internal.refuse_table, cache_sync_internal.compare, cache_sync_internal.wins,
    cache_sync_internal.all_win, cache_sync_internal.loses, cache_sync_internal.clock_after, cache_sync_internal.clock_first,
    cache_sync_internal.clock_new, cache_sync_internal.clock_newest, cache_sync_internal.replaced_version, cache_sync_internal.replaced_tie,
    cache_sync_internal.apply_suspicious, cache_sync_internal.document_changes, cache_sync_internal.document_value, cache_sync_internal.document_loses,
    cache_sync_internal.document_clock, cache_sync_internal.document_lost, cache_sync_internal.document_clock_fresh,
    cache_sync_internal.document_fresh, cache_sync_internal.patches, cache_sync_internal.joined,
    cache_sync_internal.last_of(jsonb, integer), cache_sync_internal.last_of(anyarray, integer),
    cache_sync_internal.united(jsonb, jsonb), cache_sync_internal.united(anyarray, jsonb),
    cache_sync_internal.unites(jsonb, jsonb), cache_sync_internal.unites(anyarray, jsonb), cache_sync_internal.not_null,
    cache_sync_internal.finite, cache_sync_internal.differs, cache_sync_internal.is_larger, cache_sync_internal.table_problems,
    cache_sync_internal.relation_problems, cache_sync_internal.replication_problems, cache_sync_internal.published_by,
    cache_sync_internal.two_phase_into, cache_sync_internal.version_defaults, cache_sync_internal.leftovers,
    cache_sync_internal.listeners_now, cache_sync_internal.feed_stats_now,
    cache_sync_internal.table_stats_now, cache_sync_internal.stuck_batches_now, cache_sync_internal.backlog_problems,
    cache_sync_internal.kept_for
    TO cache_sync_user;

-- ... what the views that watch the server call ...
GRANT EXECUTE ON FUNCTION
    cache_sync.status, cache_sync.versions, cache_sync.epoch, cache_sync_internal.library, cache_sync_internal.is_preloaded,
    cache_sync_internal.feed_kind, cache_sync_internal.listeners_now, cache_sync_internal.feed_stats_now,
    cache_sync_internal.table_stats_now, cache_sync_internal.stuck_batches_now
    TO pg_monitor;

-- ... and here those of admins.
GRANT EXECUTE ON FUNCTION
    cache_sync_internal.resolved_all, cache_sync_internal.bound_lock_wait, cache_sync_internal.wait_for_writers,
    cache_sync_internal.invalidate_table, cache_sync_internal.create_triggers, cache_sync_internal.truncate_triggers,
    cache_sync_internal.drop_triggers, cache_sync_internal.attached_row, cache_sync_internal.record,
    cache_sync_internal.add_own_columns, cache_sync_internal.attach_table, cache_sync_internal.forget_dropped,
    cache_sync_internal.prune_expired, cache_sync_internal.prune_sessions, cache_sync_internal.prune_dead_letters,
    cache_sync_internal.as_of_now,
    cache_sync_internal.attached_versioned, cache_sync_internal.is_attached, cache_sync_internal.create_trigger,
    cache_sync_internal.attached_of, cache_sync_internal.lacking_triggers, cache_sync_internal.triggers_to_drop,
    cache_sync_internal.warn_of_replication, cache_sync_internal.to_strip, cache_sync_internal.strip,
    cache_sync_internal.detachable, cache_sync_internal.detach_or_warn
    TO cache_sync_admin;
