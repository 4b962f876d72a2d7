-- What the install script begins with. The schema cache_sync holds what people call, and the tables; cache_sync_internal what the
-- library, triggers, the SDK and these functions call. PUBLIC gets nothing.
\echo Use "CREATE EXTENSION cache_sync" to load this file. \quit

-- The script runs with the schema first where CREATE TABLE would put things: there somebody may have left a function that
-- fits a call of ours better than the one that is meant.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Made here, not taken over: what stands in them before may be anybody's.
CREATE SCHEMA cache_sync;
CREATE SCHEMA cache_sync_internal;

