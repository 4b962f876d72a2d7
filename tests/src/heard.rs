//! What the feed tells of a table since the last time somebody asked, without the SDK.

use crate::Database;

/// A place in the feed.
#[derive(Debug)]
pub struct Heard<'d> {
    db: &'d Database<'d>,
    place: String,
}

impl<'d> Heard<'d> {
    /// From now on.
    pub fn from_now(db: &'d Database<'_>) -> Heard<'d> {
        Heard { db, place: head(db) }
    }

    /// The keys of the table that changed since, of `keys`, in their order: those that the feed does not tell are left
    /// out. A change of the whole table comes as `*`, one of a key that is not among `keys` as `?`.
    pub fn of(&mut self, table: &str, keys: &[&str]) -> String {
        let next = head(self.db);
        let told = self.peek(table, keys);
        self.place = next;
        told
    }

    /// The same, without going on from here the next time.
    pub fn peek(&self, table: &str, keys: &[&str]) -> String {
        let (epoch, position) = self.place.split_once('|').expect("a place has two numbers");
        let keys: Vec<_> = keys.iter().map(|key| format!("$k${key}$k$")).collect();
        self.db.psql(&format!(
            "SELECT string_agg(key, ' ' ORDER BY ord, key) FROM (
               SELECT DISTINCT CASE WHEN c.kind = 'flush_table' THEN '*' ELSE coalesce(k.key, '?') END AS key, k.ord
               FROM cache_sync.changes({epoch}, {position}, 100000) c
               LEFT JOIN unnest(ARRAY[{}]::text[]) WITH ORDINALITY AS k (key, ord)
                 ON c.key_hash IS NOT NULL AND cache_sync.key_hash($t${table}$t$, k.key::jsonb) = c.key_hash
               WHERE c.tbl = $t${table}$t$::regclass) told",
            keys.join(", ")
        ))
    }
}

fn head(db: &Database<'_>) -> String {
    db.psql("SELECT epoch, feed_position FROM cache_sync.feed_head()")
}
