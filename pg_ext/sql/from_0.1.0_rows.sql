-- What the upgrade from 0.1.0 does to attached tables, once the functions are there and before DDL is listened to.

SELECT cache_sync_internal.truncate_triggers(a.tbl) FROM cache_sync.attached a
WHERE a.tbl IN (SELECT p.partrelid FROM pg_catalog.pg_partitioned_table p);

-- Known from now on: the keys that tables are attached with.
UPDATE cache_sync.attached a SET key = cache_sync_internal.key_now(a.tbl) WHERE a.tbl IN (SELECT c.oid FROM pg_class c);

-- And the columns of their tags, by number, so that these follow a rename.
SELECT cache_sync_internal.sync_fields(a.table_id) FROM cache_sync.attached a WHERE a.tbl IN (SELECT c.oid FROM pg_class c);

-- What has been made by create_table with a time to live expires from now on.
UPDATE cache_sync.attached a SET expires = f.field_id
FROM cache_sync.field f
WHERE f.table_id = a.table_id AND f.name = 'expires_at' AND NOT f.dropped AND a.default_ttl IS NOT NULL;


-- What plain SQL inserts is numbered from now on, whatever it carries.
DO $$
DECLARE
    att record;
    ours record;
BEGIN
    FOR att IN SELECT a.tbl, a.table_id FROM cache_sync.attached a JOIN pg_class c ON c.oid = a.tbl WHERE a.versioned LOOP
        FOR ours IN SELECT o.* FROM cache_sync_internal.own_triggers(true) o WHERE o.proc = 'cache_sync.set_version'::regproc LOOP
            EXECUTE format('CREATE OR REPLACE TRIGGER %I %s ON %s FOR EACH %s EXECUTE FUNCTION %s(%L)',
                           ours.name, ours.fires, att.tbl, ours.each, ours.proc, att.table_id);
            EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', att.tbl, ours.name);
        END LOOP;
    END LOOP;
END
$$;
