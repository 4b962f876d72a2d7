//! A trigger that does nothing, in a function of Postgres' own: what it costs is what row triggers cost in Postgres.

/// Makes the function. It answers false, which is a null pointer where Postgres takes it for a trigger's result: "do nothing else".
pub(crate) const FUNCTION: &str = "CREATE FUNCTION idle() RETURNS trigger LANGUAGE internal AS 'pg_is_in_recovery'";

/// Makes the trigger on a table, for the same events as ours.
pub(crate) fn trigger(table: &str) -> String {
    format!("CREATE TRIGGER idle AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION idle()")
}
