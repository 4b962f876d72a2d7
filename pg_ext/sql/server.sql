-- What the library and the server are.

CREATE OR REPLACE FUNCTION cache_sync_internal.library() RETURNS TABLE (version text, protocol integer)
    LANGUAGE c STABLE STRICT ROWS 1 AS 'MODULE_PATHNAME', 'library';

-- SDKs of other protocols ask here, too.
CREATE OR REPLACE FUNCTION cache_sync.versions(OUT library text, OUT script text, OUT protocol integer)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT version, '0.2.0', protocol FROM cache_sync_internal.library() $$;
COMMENT ON FUNCTION cache_sync.versions IS
    'Which library is loaded, which script ran in this database, and which protocol they speak.';

CREATE OR REPLACE FUNCTION cache_sync_internal.is_preloaded() RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'is_preloaded';

-- How changes are told: 'stream' from shared memory, 'notify' by NOTIFY.
CREATE OR REPLACE FUNCTION cache_sync_internal.feed_kind() RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'feed_kind';

CREATE OR REPLACE FUNCTION cache_sync.epoch() RETURNS bigint
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'epoch_current';
COMMENT ON FUNCTION cache_sync.epoch IS
    'The identity of the feed''s memory: under another one all positions are void, and what is held may be old.';

-- The default of every cs_version, which is evaluated for each row. STABLE although it is not, so that a query that compares rows with
-- it asks once.
CREATE OR REPLACE FUNCTION cache_sync.hlc() RETURNS bigint
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hlc_next';
COMMENT ON FUNCTION cache_sync.hlc IS
    'The clock of versions and stamps: microseconds since 1970, and each call more than the one before.';

-- Where this server is in which history: the end of the log, or up to where a standby has replayed it. And what its host's clock shows.
CREATE OR REPLACE FUNCTION cache_sync_internal.server_state()
    RETURNS TABLE (in_recovery boolean, system bigint, timeline integer, database bigint, lsn bigint, epoch bigint, host_time bigint)
    LANGUAGE c VOLATILE STRICT ROWS 1 AS 'MODULE_PATHNAME', 'server_state';

-- Runs a statement, whose $1 is an integer, so that it sees what is committed by now, as DDL does, whatever the transaction's
-- isolation level; what it calls does, too, if it is STABLE. Answers the first column of its first row.
CREATE OR REPLACE FUNCTION cache_sync_internal.as_of_now(statement text, id integer) RETURNS jsonb
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'as_of_now';

-- Whether it is the number of this transaction, or of one of its savepoints.
CREATE OR REPLACE FUNCTION cache_sync_internal.is_own(xid xid) RETURNS boolean
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'is_own';

-- Until the transaction ends nobody else writes what is noted of this table. Locks that table before, but for writers and readers.
CREATE OR REPLACE FUNCTION cache_sync_internal.lock_books(tbl regclass, table_id integer) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'lock_books';
