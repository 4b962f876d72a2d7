//! A trigger that does nothing, in a function that comes with Postgres: what it costs is what row triggers cost in Postgres.

/// Makes the function. It answers that the connection is not encrypted: false, which is a null pointer where Postgres takes it for a
/// trigger's result, "do nothing else". It is in C, as ours is: an internal function of another name is looked for among
/// all of Postgres' own with each statement, which costs more than the trigger.
pub(crate) const FUNCTION: &str =
    "CREATE FUNCTION idle() RETURNS trigger LANGUAGE C AS '$libdir/sslinfo', 'ssl_is_used'";

/// Makes the trigger on a table, for the same events as ours.
pub(crate) fn trigger(table: &str) -> String {
    format!("CREATE TRIGGER idle AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION idle()")
}
