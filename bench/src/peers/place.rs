//! Where and when it was measured.

use super::Scope;
use super::table::thousands;
use crate::measure::Rounds;
use cache_sync_cluster::redis_server;
use cache_sync_kit::{Result, command};
use std::process::Command;
use tokio_postgres::Client;

/// A sentence for a document.
pub(super) async fn describe(scope: &Scope, rounds: Rounds, control: &Client) -> Result<String> {
    let asked = "SELECT current_date::text, split_part(current_setting('server_version'), ' ', 1)";
    let row = control.query_one(asked, &[]).await?;
    let (date, postgres): (String, String) = (row.get(0), row.get(1));
    let redis = command::output(Command::new(redis_server()?).arg("--version"))?;
    let (processors, model) = (std::thread::available_parallelism()?, model().unwrap_or_default());
    let load = std::fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "{date}: {} rows, {} rounds of {} s; {processors} processors ({model}), a load of {} before it began; PostgreSQL {postgres}, \
         Redis {}\n",
        thousands(scope.rows as f64),
        rounds.count,
        rounds.seconds,
        load.split(' ').next().unwrap_or_default(),
        after(&redis, "v=").unwrap_or_default(),
    ))
}

/// What the processors call themselves.
fn model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(": ")?.1.to_owned())
}

/// The word behind a mark.
fn after<'t>(text: &'t str, mark: &str) -> Option<&'t str> {
    text.split_once(mark)?.1.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::after;

    #[test]
    fn finds_the_version() {
        assert_eq!(after("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0", "v="), Some("7.0.15"));
        assert_eq!(after("Redis server", "v="), None);
    }
}
