-- Patches: numbered batches of a session, and single ones.

CREATE OR REPLACE FUNCTION cache_sync.open_session(tbl regclass, session uuid, OUT fence bigint, OUT last_seq bigint)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'open_session';
COMMENT ON FUNCTION cache_sync.open_session IS
    'Opens a client''s numbered line of batches to a table, or takes it over from whoever had it.';

-- {epoch, last_seq, lsn, host_time}: last_seq in the snapshot of the calling query, -1 when there is no such session.
CREATE OR REPLACE FUNCTION cache_sync.load_state(session uuid, table_id integer) RETURNS bigint[]
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'load_state';
COMMENT ON FUNCTION cache_sync.load_state IS
    'The epoch, the last batch of a session in the snapshot of your query (-1: no such session), where the log ends, and the clock of the server''s host.';

CREATE OR REPLACE FUNCTION cache_sync.apply(
    tbl regclass, session uuid, fence bigint, seq bigint, shapes jsonb, rows text[],
    OUT epoch bigint, OUT last_seq bigint, OUT outcomes bytea)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apply';
COMMENT ON FUNCTION cache_sync.apply IS
    'Applies the next batch of a session, exactly once; docs/design.md says what is in a batch and its outcomes.';

-- The same for a batch that has failed before: whatever Postgres says may be a patch's fault, if others are applied.
CREATE OR REPLACE FUNCTION cache_sync_internal.apply_suspicious(
    tbl regclass, session uuid, fence bigint, seq bigint, shapes jsonb, rows text[],
    OUT epoch bigint, OUT last_seq bigint, OUT outcomes bytea)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'apply_suspicious';

-- One patch each, by the rules, in the caller's transaction. The document holds the key's columns and fields; an upsert
-- of a row that exists leaves its add fields alone.
CREATE OR REPLACE FUNCTION cache_sync.upsert(
    tbl regclass, doc jsonb, OUT outcome text, OUT version bigint, OUT row_after jsonb)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'upsert';
COMMENT ON FUNCTION cache_sync.upsert IS
    'Creates a row, or merges fields into it by their rules; what counts or collects stays as it is.';

CREATE OR REPLACE FUNCTION cache_sync.edit(
    tbl regclass, key jsonb, patch jsonb, OUT outcome text, OUT version bigint, OUT row_after jsonb)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'edit';
COMMENT ON FUNCTION cache_sync.edit IS 'Merges a patch into a row that exists, by the rules of its fields.';

CREATE OR REPLACE FUNCTION cache_sync.delete(
    tbl regclass, key jsonb, OUT outcome text, OUT version bigint, OUT row_after jsonb)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'delete';
COMMENT ON FUNCTION cache_sync.delete IS 'Deletes the row of a key.';

-- Sets the fields of the row if it has the expected version; 0: if there is no such row; null, as cs_version is seen in a row that
-- was not written since its table was attached: if that is so, or there is no row. The loser is told `conflict`, and gets the row
-- as it is.
CREATE OR REPLACE FUNCTION cache_sync.compare_and_set(
    tbl regclass, doc jsonb, expected_version bigint, OUT outcome text, OUT version bigint, OUT row_after jsonb)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'compare_and_set';
COMMENT ON FUNCTION cache_sync.compare_and_set IS
    'Sets fields of a row if it has the expected version (0: if there is no such row; null: no row, or one without version), else answers conflict.';

