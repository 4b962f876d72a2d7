//! Was anything lost, written twice, or held wrongly?

use std::collections::HashMap;
use std::path::Path;

use cache_sync_cluster::Cluster;
use cache_sync_kit::{Result, connect};
use tokio_postgres::Client;

use crate::ledger::Ledger;
use crate::node::{Account, Held};
use crate::report::{Check, thousands};
use crate::staleness::Staleness;

/// How many wrong entries are told one by one.
const TOLD_MAX: usize = 10;
/// How many rows one statement asks for.
const ROWS_PER_STATEMENT: usize = 10_000;

/// Every change was written, exactly once. `killed` is what the logs of killed nodes say, `alive` those of the others.
pub(crate) fn conservation(cluster: &Cluster, database: &str, alive: &[Ledger], killed: &[Ledger]) -> Result<Check> {
    let sums = cluster.psql(
        database,
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT coalesce(sum(delta), 0) FROM pgbench_history)",
    )?;
    let (balance, history) = sums.split_once('|').ok_or("two sums were asked for")?;
    let (balance, history): (i64, i64) = (balance.parse()?, history.parse()?);
    let sum = |of: fn(&Ledger) -> u64, ledgers: &[Ledger]| ledgers.iter().map(of).sum::<u64>();
    let written = sum(|ledger| ledger.written, alive) + sum(|ledger| ledger.written, killed);
    let open = sum(|ledger| ledger.open, killed);
    let rest = balance - history - written.cast_signed();
    let holds = (0..=open.cast_signed()).contains(&rest);
    Ok(Check::new(
        "nothing lost, nothing twice",
        holds,
        format!(
            "sum(abalance) {balance} - sum(history) {history} - written {written} = {rest}, allowed: 0 to {open} \
             (the killed nodes' intents without outcome)"
        ),
    ))
}

/// Every accepted write of the nodes that were not killed has an outcome, and it stands in its row.
pub(crate) fn outcomes(alive: &[Ledger]) -> Check {
    let accepted: u64 = alive.iter().map(|ledger| ledger.accepted).sum();
    let written: u64 = alive.iter().map(|ledger| ledger.written).sum();
    let open: u64 = alive.iter().map(|ledger| ledger.open).sum();
    let not_written: u64 = alive.iter().map(|ledger| ledger.not_written).sum();
    Check::new(
        "every accepted write has its outcome",
        accepted == written && open == 0 && accepted > 0,
        format!("{accepted} accepted, {written} written, {not_written} not written, {open} without outcome"),
    )
}

/// pgbench ended as it must.
pub(crate) fn pgbench(codes: &[i32], expected: &[i32]) -> Check {
    Check::new("pgbench's exit codes", codes == expected, format!("{codes:?}, expected {expected:?}"))
}

/// No read was older than the bound allows; with deaf nodes some must be, or the comparison is blind.
pub(crate) fn staleness(staleness: Staleness, must_be_stale: bool) -> Check {
    let found = format!("{} of {} reads", thousands(staleness.stale), thousands(staleness.reads));
    if must_be_stale {
        return Check::new("a deaf node's reads get stale (control)", staleness.stale > 0, found);
    }
    let holds = staleness.stale == 0 && staleness.reads > 0;
    let wrong = staleness.told;
    Check { wrong, ..Check::new("no stale read", holds, found) }
}

/// Every entry that the nodes held at the end equals its row.
pub(crate) async fn entries(dsn: &str, dumps: &[(String, &Path)]) -> Result<Check> {
    let client = connect(dsn).await?;
    let (mut compared, mut different, mut wrong) = (0u64, 0u64, Vec::new());
    let mut holds = !dumps.is_empty();
    for (node, dump) in dumps {
        let text = std::fs::read_to_string(dump)?;
        let held: Vec<Held> = text.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
        holds &= !held.is_empty();
        for part in held.chunks(ROWS_PER_STATEMENT) {
            let rows = rows(&client, part).await?;
            for held in part {
                compared += 1;
                let row = rows.get(&held.aid);
                if row != held.account.as_ref() {
                    different += 1;
                    if wrong.len() < TOLD_MAX {
                        wrong
                            .push(format!("{node}: account {}: held {:?}, the row is {row:?}", held.aid, held.account));
                    }
                }
            }
        }
    }
    let found = format!("{} entries compared, {} differ", thousands(compared), thousands(different));
    Ok(Check { wrong, ..Check::new("every entry equals its row", holds && different == 0, found) })
}

async fn rows(client: &Client, held: &[Held]) -> Result<HashMap<i32, Account>> {
    let aids: Vec<i32> = held.iter().map(|held| held.aid).collect();
    let rows =
        client.query("SELECT aid, bid, abalance, filler FROM pgbench_accounts WHERE aid = ANY($1)", &[&aids]).await?;
    rows.iter()
        .map(|row| {
            let account = Account { bid: row.try_get(1)?, abalance: row.try_get(2)?, filler: row.try_get(3)? };
            Ok((row.try_get(0)?, account))
        })
        .collect()
}
