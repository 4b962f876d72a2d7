//! Who waits for a lock.

use crate::{Database, SOON, wait_until};

/// Waits until so many backends of the database wait for a lock.
pub async fn until_waiting(db: &Database<'_>, backends: u32) {
    until_waiting_where(db, backends, "true").await;
}

/// The same, of those alone that a condition on `pg_stat_activity` picks.
pub async fn until_waiting_where(db: &Database<'_>, backends: u32, condition: &str) {
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock' AND {condition}"
    );
    let what = format!("{backends} backends wait for a lock where {condition}");
    wait_until(SOON, &what, async || db.psql(&waiting) == backends.to_string()).await;
}
