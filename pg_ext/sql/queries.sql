-- What queries depend on.

CREATE OR REPLACE FUNCTION cache_sync.dependencies(sql text, parameter_types regtype[] DEFAULT '{}') RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'dependencies';
COMMENT ON FUNCTION cache_sync.dependencies IS
    'What a SELECT reads: attached tables, what pins the rows of them that matter, and what nobody would tell of.';
