-- What compiled statements call, for every row and field.

-- Over a row's clock.
CREATE OR REPLACE FUNCTION cache_sync_internal.compare(stamp bigint, clock bytea, version bigint, field smallint) RETURNS integer
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'clock_compare';

CREATE OR REPLACE FUNCTION cache_sync_internal.wins(stamps bigint[], clock bytea, version bigint, fields smallint[]) RETURNS integer
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'clock_wins';

-- Whether wins() decided last about this patch and row, and every field won; for the SET list of a row right after its
-- condition.
CREATE OR REPLACE FUNCTION cache_sync_internal.all_win(stamps bigint[], version bigint) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'clock_all_win';

CREATE OR REPLACE FUNCTION cache_sync_internal.loses(
    stamps bigint[], clock bytea, version bigint, fields smallint[]) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'clock_loses';

CREATE OR REPLACE FUNCTION cache_sync_internal.clock_after(
    stamps bigint[], clock bytea, version bigint, fields smallint[], stamped smallint[]) RETURNS bytea
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'clock_after';

CREATE OR REPLACE FUNCTION cache_sync_internal.clock_first(clock bytea, wins boolean, field smallint, stamp bigint) RETURNS bytea
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'clock_first';

CREATE OR REPLACE FUNCTION cache_sync_internal.clock_newest(clock bytea, version bigint) RETURNS bigint
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'clock_newest';
CREATE OR REPLACE FUNCTION cache_sync_internal.clock_new(stamps bigint[], fields smallint[], stamped smallint[]) RETURNS bytea
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'clock_new';

-- For RETURNING, of the row just updated: its version before, and whether some field was decided by value.
CREATE OR REPLACE FUNCTION cache_sync_internal.replaced_version() RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'replaced_version';

CREATE OR REPLACE FUNCTION cache_sync_internal.replaced_tie() RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'replaced_tie';

-- What a patch makes of a document, and of the stamps of its paths.
CREATE OR REPLACE FUNCTION cache_sync_internal.document_changes(
    rule text, is_edit boolean, is_each boolean, current jsonb, incoming jsonb, stamp bigint, clock bytea,
    version bigint, field smallint) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'document_changes';

CREATE OR REPLACE FUNCTION cache_sync_internal.document_value(
    rule text, is_edit boolean, is_each boolean, current jsonb, incoming jsonb, stamp bigint, clock bytea,
    version bigint, field smallint) RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'document_value';

CREATE OR REPLACE FUNCTION cache_sync_internal.document_loses(
    rule text, is_edit boolean, is_each boolean, current jsonb, incoming jsonb, stamp bigint, clock bytea,
    version bigint, field smallint) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'document_loses';

CREATE OR REPLACE FUNCTION cache_sync_internal.document_clock(
    marked bytea, rule text, is_edit boolean, is_each boolean, current jsonb, incoming jsonb, stamp bigint, clock bytea,
    version bigint, field smallint) RETURNS bytea
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'document_clock';

CREATE OR REPLACE FUNCTION cache_sync_internal.document_lost(field smallint) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'document_lost';

CREATE OR REPLACE FUNCTION cache_sync_internal.document_clock_fresh(
    clock bytea, rule text, incoming jsonb, stamp bigint, field smallint) RETURNS bytea
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'document_clock_fresh';

CREATE OR REPLACE FUNCTION cache_sync_internal.document_fresh(rule text, incoming jsonb, is_each boolean) RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'document_fresh';

-- The objects of an array as rows, for columns that are neither arrays nor composites.
CREATE OR REPLACE FUNCTION cache_sync_internal.patches(patches json) RETURNS SETOF record
    LANGUAGE c STABLE STRICT PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'patches';

-- Over lists and sets.
CREATE OR REPLACE FUNCTION cache_sync_internal.joined(current jsonb, incoming jsonb) RETURNS jsonb
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'joined';

CREATE OR REPLACE FUNCTION cache_sync_internal.last_of(list jsonb, cap integer) RETURNS jsonb
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'last_of';

CREATE OR REPLACE FUNCTION cache_sync_internal.last_of(list anyarray, cap integer) RETURNS anyarray
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN pg_catalog.array_length(list, 1) OPERATOR(pg_catalog.>) cap
        THEN list[pg_catalog.array_upper(list, 1) OPERATOR(pg_catalog.-) cap OPERATOR(pg_catalog.+) 1 :] ELSE list END
$$;

CREATE OR REPLACE FUNCTION cache_sync_internal.united(current jsonb, change jsonb) RETURNS jsonb
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'united_json';

CREATE OR REPLACE FUNCTION cache_sync_internal.united(current anyarray, change jsonb) RETURNS anyarray
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'united_array';

CREATE OR REPLACE FUNCTION cache_sync_internal.unites(current jsonb, change jsonb) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'unites_json';

CREATE OR REPLACE FUNCTION cache_sync_internal.unites(current anyarray, change jsonb) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'unites_array';

CREATE OR REPLACE FUNCTION cache_sync_internal.not_null(value anyelement, function text) RETURNS anyelement
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'not_null';

-- Refuses what is added to a number and would leave none: NaN and the infinities.
CREATE OR REPLACE FUNCTION cache_sync_internal.finite(change numeric) RETURNS numeric
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'finite';

CREATE OR REPLACE FUNCTION cache_sync_internal.differs(a anyelement, b anyelement) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'differs';

-- Which of two values written at the same time stays. Every node must decide alike, so it goes by the JSON text's bytes,
-- not by the type's order, which not every type has.
CREATE OR REPLACE FUNCTION cache_sync_internal.is_larger(a anyelement, b anyelement) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT a IS NOT NULL AND (b IS NULL OR pg_catalog.to_jsonb(a)::pg_catalog.text COLLATE pg_catalog."C"
        OPERATOR(pg_catalog.>) pg_catalog.to_jsonb(b)::pg_catalog.text COLLATE pg_catalog."C")
$$;

