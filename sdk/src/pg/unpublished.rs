//! Transactions whose changes may be seen, and of which the feed may not have told yet.

use super::postgres::Postgres;
use crate::error::{Error, Step};
use crate::store::Ending;
use std::collections::HashSet;

const STEP: Step = "looking for transactions that are just ending";

/// A committing transaction first leaves the list of those that are under way, and is seen from then on; then it publishes its changes; and then it
/// gives up its locks, among them the one on its own number, which every transaction has that writes. So whoever has such a lock is under way, or
/// is just between the two. Which of them are under way the statement's snapshot says: it was taken before the locks are looked at. It lists those
/// below its end, and all from its end on are under way, too (numbers go round, at 32 bits). Who is connected to
/// another database writes no table of this one, nor does a prepared transaction, which no backend holds: to prepare one that has changed an attached
/// table is refused.
const HOLDERS: &str = "SELECT l.virtualtransaction, pg_catalog.bool_or(
         ((l.transactionid::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.-)
           pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8)
           OPERATOR(pg_catalog.&) 4294967295) OPERATOR(pg_catalog.<) 2147483648
         OR EXISTS (
           SELECT FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) AS x (xid)
           WHERE x.xid::pg_catalog.xid OPERATOR(pg_catalog.=) l.transactionid))
     FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid OPERATOR(pg_catalog.=) l.pid
     WHERE a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
       AND l.locktype OPERATOR(pg_catalog.=) 'transactionid' AND l.granted AND l.mode OPERATOR(pg_catalog.=) 'ExclusiveLock'
     GROUP BY l.virtualtransaction";

impl Postgres {
    /// Transactions that have written and not ended, each by a name that no other one has.
    pub(super) async fn writing(&self, which: Ending) -> Result<HashSet<String>, Error> {
        let rows = self.query(STEP, HOLDERS, &[]).await?;
        let is_meant = |is_under_way: bool| which == Ending::Any || !is_under_way;
        Ok(rows.iter().filter(|row| is_meant(row.get(1))).map(|row| row.get(0)).collect())
    }
}
