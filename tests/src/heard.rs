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

    /// The values of the tag whose rows changed since, of `values` (SQL expressions), in their order; others come as `?`, and
    /// a change of the whole table as `*`.
    pub fn tags(&mut self, table: &str, tag: &str, values: &[&str]) -> String {
        let (epoch, position) = self.place.split_once('|').expect("a place has two numbers");
        let quoted: Vec<_> = values.iter().map(|value| format!("(({value})::text, $v${value}$v$)")).collect();
        let told = self.db.psql(&format!(
            "SELECT string_agg(told, ' ' ORDER BY told) FROM (
               SELECT DISTINCT CASE WHEN c.kind = 'flush_table' THEN '*' ELSE coalesce(v.shown, '?') END AS told
               FROM cache_sync.changes({epoch}, {position}, 100000) c
               LEFT JOIN (VALUES {}) AS v (value, shown) ON cache_sync.tag_hash($t${table}$t$, '{tag}', v.value) = c.key_hash
               WHERE c.tbl = $t${table}$t$::regclass AND c.kind IN ('tag', 'flush_table')) told",
            quoted.join(", ")
        ));
        self.place = head(self.db);
        told
    }

    /// What [`Heard::of`] says, without going on from here the next time.
    pub fn peek(&self, table: &str, keys: &[&str]) -> String {
        let (epoch, position) = self.place.split_once('|').expect("a place has two numbers");
        let keys: Vec<_> = keys.iter().map(|key| format!("$k${key}$k$")).collect();
        self.db.psql(&format!(
            "SELECT string_agg(key, ' ' ORDER BY ord, key) FROM (
               SELECT DISTINCT CASE WHEN c.kind = 'flush_table' THEN '*' ELSE coalesce(k.key, '?') END AS key, k.ord
               FROM cache_sync.changes({epoch}, {position}, 100000) c
               LEFT JOIN unnest(ARRAY[{}]::text[]) WITH ORDINALITY AS k (key, ord)
                 ON c.key_hash IS NOT NULL AND cache_sync.key_hash($t${table}$t$, k.key::jsonb) = c.key_hash
               WHERE c.tbl = $t${table}$t$::regclass AND c.kind <> 'tag') told",
            keys.join(", ")
        ))
    }
}

fn head(db: &Database<'_>) -> String {
    db.psql("SELECT epoch, feed_position FROM cache_sync.feed_head()")
}
