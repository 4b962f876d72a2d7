-- What the upgrade from 0.1.0 begins with: tables get what is new, and what is now called otherwise, or declared otherwise, goes.
\echo Use "ALTER EXTENSION cache_sync UPDATE" to load this file. \quit

SET LOCAL search_path = pg_catalog, pg_temp;

-- Made here, not taken over: what stands in it before may be anybody's.
CREATE SCHEMA cache_sync_internal;

ALTER TABLE cache_sync.attached
    ADD COLUMN expires smallint, ADD COLUMN key text[], ADD COLUMN rekeyed boolean NOT NULL DEFAULT false,
    ADD COLUMN tag_attnums smallint[] NOT NULL DEFAULT '{}';
ALTER TABLE cache_sync.field DROP CONSTRAINT field_table_id_fkey;
ALTER TABLE cache_sync.session DROP CONSTRAINT session_table_id_fkey, DROP CONSTRAINT session_pkey,
    ADD COLUMN stretch bigint GENERATED ALWAYS AS (last_seq / 16) STORED, ADD PRIMARY KEY (session, table_id, stretch);
ALTER TABLE cache_sync.dead_letter DROP CONSTRAINT dead_letter_table_id_fkey;
ALTER TABLE cache_sync.dead_letter ADD COLUMN shape jsonb, ADD COLUMN hlc bigint, ADD COLUMN constraint_name text;
CREATE INDEX session_of_table ON cache_sync.session (table_id);
CREATE INDEX dead_letter_of_table ON cache_sync.dead_letter (table_id, at);
CREATE INDEX dead_letter_by_age ON cache_sync.dead_letter (at);

DROP VIEW cache_sync.tables, cache_sync.dead_letters, cache_sync.listeners, cache_sync.feed_stats;

-- Triggers of the extension's tables call these.
ALTER FUNCTION cache_sync.note_setup() SET SCHEMA cache_sync_internal;
ALTER FUNCTION cache_sync.unmatch() SET SCHEMA cache_sync_internal;

DROP FUNCTION
    cache_sync.is_preloaded, cache_sync.library, cache_sync.base_type, cache_sync.key_kind, cache_sync.key_columns,
    cache_sync.field_columns, cache_sync.relations, cache_sync.check_rule, cache_sync.field_drift,
    cache_sync.sync_fields, cache_sync.forget_dropped, cache_sync.layout, cache_sync.type_name, cache_sync.declared,
    cache_sync.description, cache_sync.refuse_columns, cache_sync.refuse_table, cache_sync.record_attached,
    cache_sync.record_detached, cache_sync.record_rule, cache_sync.write_attached, cache_sync.write_detached,
    cache_sync.write_rule, cache_sync.invalidate_table, cache_sync.create_triggers, cache_sync.bound_lock_wait,
    cache_sync.attach_table, cache_sync.compare, cache_sync.wins, cache_sync.all_win, cache_sync.loses,
    cache_sync.clock_after, cache_sync.clock_new, cache_sync.replaced_version, cache_sync.replaced_tie,
    cache_sync.differs, cache_sync.is_larger, cache_sync.apply, cache_sync.listeners_now, cache_sync.feed_stats_now, cache_sync.changes;

