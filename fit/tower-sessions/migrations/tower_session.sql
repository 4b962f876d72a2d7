-- Sessions of tower-sessions. The role that runs this may attach tables: it owns the table and is of cache_sync_admin.
-- Not versioned: a deletion then wins over whatever was written before it, by whichever clock, so a logout is one.
CREATE TABLE tower_session (
    id uuid PRIMARY KEY,
    data jsonb NOT NULL,
    expires timestamptz NOT NULL
);
SELECT cache_sync.attach('tower_session');
SELECT cache_sync.set_expiry('tower_session', 'expires');
