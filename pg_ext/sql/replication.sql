-- Logical replication, into attached tables and out of them.

-- The publications that send a column that the table gets.
CREATE OR REPLACE FUNCTION cache_sync_internal.published_by(tbl regclass) RETURNS SETOF name
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.pubname FROM pg_publication p
    WHERE p.puballtables
       OR EXISTS (SELECT FROM pg_publication_rel r JOIN cache_sync_internal.relations(published_by.tbl) t ON t.relid = r.prrelid
                  WHERE r.prpubid = p.oid AND r.prattrs IS NULL)
       OR EXISTS (SELECT FROM pg_publication_namespace n JOIN pg_class c ON c.relnamespace = n.pnnspid
                  JOIN cache_sync_internal.relations(published_by.tbl) t ON t.relid = c.oid WHERE n.pnpubid = p.oid)
    ORDER BY p.pubname
$$;

-- The subscriptions whose worker prepares transactions that change the table, which cannot be: whoever commits them does not know
-- what they have changed.
CREATE OR REPLACE FUNCTION cache_sync_internal.two_phase_into(tbl regclass) RETURNS SETOF name
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.subname FROM pg_subscription s
    WHERE s.subtwophasestate <> 'd'
      AND EXISTS (SELECT FROM pg_subscription_rel r JOIN cache_sync_internal.relations(two_phase_into.tbl) t ON t.relid = r.srrelid
                  WHERE r.srsubid = s.oid)
    ORDER BY s.subname
$$;

-- Warns of what attaching breaks elsewhere, before it is committed.
CREATE OR REPLACE FUNCTION cache_sync_internal.warn_of_replication(tbl regclass, versioned boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name name;
BEGIN
    IF versioned AND NOT cache_sync_internal.has_own_columns(tbl) THEN
        FOR name IN SELECT p FROM cache_sync_internal.published_by(tbl) p LOOP
            RAISE WARNING '% is published by %: subscribers that lack cs_version and cs_clock stop at the next change', tbl, name
                USING HINT = format('Before you commit, on each: ALTER TABLE %s ADD COLUMN cs_version bigint, ADD COLUMN cs_clock bytea;',
                                    tbl);
        END LOOP;
    END IF;
    FOR name IN SELECT s FROM cache_sync_internal.two_phase_into(tbl) s LOOP
        RAISE WARNING 'the subscription % is two-phase: it stops at the next prepared transaction that changes %', name, tbl
            USING HINT = 'Create it anew with two_phase = false.';
    END LOOP;
END
$$;
