-- The feed of committed changes, and the hashes by which it names keys and tags.

CREATE OR REPLACE FUNCTION cache_sync.feed_head() RETURNS TABLE (epoch bigint, feed_position bigint, hlc bigint)
    LANGUAGE c VOLATILE STRICT ROWS 1 AS 'MODULE_PATHNAME', 'feed_head';
COMMENT ON FUNCTION cache_sync.feed_head IS 'Where the feed is now: its epoch, the position of the latest change, and hlc().';

-- The first row is `start` or, when something may have been missed, `gap`; the last one says from which position to ask
-- next time. Without arguments: the latest changes that the ring still holds. With `wait` it waits so long until there is one.
CREATE OR REPLACE FUNCTION cache_sync.changes(
    since_epoch bigint DEFAULT NULL, since_position bigint DEFAULT NULL, max_rows integer DEFAULT 1000, wait interval DEFAULT NULL)
    RETURNS TABLE (epoch bigint, feed_position bigint, tbl regclass, key_hash bigint, version bigint, kind text)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'changes';
COMMENT ON FUNCTION cache_sync.changes IS
    'What was committed since a position, of the tables that you may SELECT, for those who ask instead of listening.';

CREATE OR REPLACE PROCEDURE cache_sync.stream(
    table_ids integer[] DEFAULT NULL, since_epoch bigint DEFAULT NULL, since_position bigint DEFAULT NULL)
    LANGUAGE c AS 'MODULE_PATHNAME', 'stream';
COMMENT ON PROCEDURE cache_sync.stream IS
    'Turns the connection into a feed of changes until it is cancelled or closed; without tables, of all that you may SELECT.';

-- What a client asks now and then that hears by NOTIFY, for want of a preloaded library: the answer comes behind all
-- notifications of what was committed before, and only if the caller may read the tables.
CREATE OR REPLACE FUNCTION cache_sync.listen_state(table_ids integer[]) RETURNS TABLE (epoch bigint, hlc bigint)
    LANGUAGE c VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'listen_state';
COMMENT ON FUNCTION cache_sync.listen_state IS
    'For clients that LISTEN: answers behind all notifications of what was committed before.';

-- The secret with which the keys of a table are hashed, made of the database's.
CREATE OR REPLACE FUNCTION cache_sync_internal.table_secret(table_id integer) RETURNS bytea
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'table_secret';

CREATE OR REPLACE FUNCTION cache_sync.key_hash(tbl regclass, key jsonb) RETURNS bigint
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'key_hash';
COMMENT ON FUNCTION cache_sync.key_hash IS 'How the feed names a key of a table that you may SELECT.';

CREATE OR REPLACE FUNCTION cache_sync.tag_hash(tbl regclass, tag name, value text) RETURNS bigint
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tag_hash';
COMMENT ON FUNCTION cache_sync.tag_hash IS
    'How the feed names the value of a tag, which comes as its type''s text, or null.';

