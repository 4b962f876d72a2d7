//! The tables under the histories, and what they hold when all is quiet.

use crate::history::{COLUMNS, Chain, HOMES, Home, Link, Nanos, Sums, Truth};
use cache_sync_kit::{Result, connect};
use std::collections::BTreeMap;

/// Its keys run from 1 to `ROWS`.
pub(crate) const KEPT_TABLE: &str = "kept";
pub(crate) const ROWS: i32 = 48;
/// Rows that are not there at first: whoever counts in one makes it. Their keys are `-CREATED` to -1, and they are of no group that queries ask
/// for, also not by their remainder.
pub(crate) const CREATED: i32 = GROUPS - 1;
/// A name that two tables have by turns.
pub(crate) const SWAPPED_TABLE: &str = "shelf";
/// The name of the one whose turn it is not.
const SPARE_TABLE: &str = "shelf_spare";
pub(crate) const SHELF_ROWS: i32 = 12;
/// Its keys run from 0 on.
pub(crate) const ITEM_TABLE: &str = "item";
pub(crate) const ITEMS: i32 = 24;
/// A key's group is its remainder by this.
pub(crate) const GROUPS: i32 = 6;
/// Of which table the swapped name is at first.
const FIRST_HOME: Home = 1;

/// The state of each item goes into a log in the transaction that makes it, while its row is locked: so the log has the true order. Plain
/// writers say the name of what they do; the SDK's writes are known by the state, which is used once.
const ITEMS_SQL: &str = "
    CREATE TABLE item (id int PRIMARY KEY, grp int NOT NULL, s bigint NOT NULL);
    CREATE TABLE item_log (pos bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id int NOT NULL, s bigint, name bigint);
    CREATE FUNCTION note_item() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO item_log (id, s, name)
        SELECT coalesce(NEW.id, OLD.id), NEW.s, nullif(current_setting('torture.name', true), '')::bigint;
        RETURN NULL;
    END $$;
    CREATE TRIGGER note_item AFTER INSERT OR UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION note_item();
    CREATE TABLE name_log (pos bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, home int NOT NULL, name bigint NOT NULL);
    SELECT cache_sync.attach('item', tags => '{grp}');";

/// Everything, in SQL.
pub(crate) fn schema() -> String {
    let mut sql = "CREATE EXTENSION cache_sync;".to_owned();
    for (name, home, rows) in
        [(KEPT_TABLE, 0, ROWS), (SWAPPED_TABLE, FIRST_HOME, SHELF_ROWS), (SPARE_TABLE, 2, SHELF_ROWS)]
    {
        sql.push_str(&format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, grp int NOT NULL, home int NOT NULL, n bigint NOT NULL DEFAULT 0,
                 w1 bigint NOT NULL DEFAULT 0, w2 bigint NOT NULL DEFAULT 0, w3 bigint NOT NULL DEFAULT 0, w4 bigint NOT NULL DEFAULT 0);
             INSERT INTO {name} SELECT g, g % {GROUPS}, {home} FROM generate_series(1, {rows}) g; {};",
            attach(name)
        ));
    }
    sql + ITEMS_SQL
}

/// Attaches a table of numbers, if it is not.
pub(crate) fn attach(name: &str) -> String {
    format!(
        "SELECT cache_sync.attach('{name}', versioned => true, if_not_attached => true, tags => '{{grp}}',
                rules => '{{\"w1\": \"add\", \"w2\": \"add\", \"w3\": \"add\", \"w4\": \"add\"}}')"
    )
}

/// The two tables change names, and the log says what the name means from then on.
pub(crate) fn swap(name: i64) -> String {
    format!(
        "BEGIN; SET LOCAL lock_timeout = '2s';
         ALTER TABLE {SWAPPED_TABLE} RENAME TO shelf_aside; ALTER TABLE {SPARE_TABLE} RENAME TO {SWAPPED_TABLE};
         ALTER TABLE shelf_aside RENAME TO {SPARE_TABLE};
         INSERT INTO name_log (home, name) SELECT home, {name} FROM {SWAPPED_TABLE} LIMIT 1; COMMIT"
    )
}

/// What the tables held at the last moment of quiet.
#[derive(Debug)]
pub(crate) struct Stored {
    at: Nanos,
    rows: BTreeMap<(Home, i32), [i64; COLUMNS]>,
    items: BTreeMap<i32, Option<i64>>,
    named: Option<i64>,
    item_pos: i64,
    name_pos: i64,
}

impl Stored {
    /// What they hold now.
    pub(crate) async fn read(dsn: &str, at: Nanos) -> Result<Stored> {
        let client = connect(dsn).await?;
        let mut rows = BTreeMap::new();
        for table in [KEPT_TABLE, SWAPPED_TABLE, SPARE_TABLE] {
            for row in client.query(&format!("SELECT home, id, n, w1, w2, w3, w4 FROM {table}"), &[]).await? {
                rows.insert((row.get(0), row.get(1)), std::array::from_fn(|column| row.get(column + 2)));
            }
        }
        let mut items: BTreeMap<i32, Option<i64>> = (0..ITEMS).map(|id| (id, None)).collect();
        for row in client.query("SELECT id, s FROM item", &[]).await? {
            items.insert(row.get(0), Some(row.get(1)));
        }
        let ends = "SELECT (SELECT coalesce(max(pos), 0) FROM item_log), (SELECT coalesce(max(pos), 0) FROM name_log)";
        let ends = client.query_one(ends, &[]).await?;
        let named = client.query_one(&format!("SELECT max(home)::bigint FROM {SWAPPED_TABLE}"), &[]).await?.get(0);
        Ok(Stored { at, rows, items, named, item_pos: ends.get(0), name_pos: ends.get(1) })
    }

    /// What happened from then until `after`.
    pub(crate) async fn until(&self, dsn: &str, after: &Stored) -> Result<Truth> {
        let client = connect(dsn).await?;
        let mut truth = Truth { since: self.at, groups: GROUPS, names: Chain::new(self.named), ..Truth::default() };
        let zero = [0; COLUMNS];
        for key in self.rows.keys().chain(after.rows.keys()).filter(|(home, _)| *home < HOMES) {
            let of = |stored: &Stored| stored.rows.get(key).copied().unwrap_or(zero);
            truth.rows.insert(*key, Sums { before: of(self), after: of(after) });
        }
        truth.items = self.items.iter().map(|(id, state)| (*id, Chain::new(*state))).collect();
        let log = "SELECT id, s, name FROM item_log WHERE pos > $1 AND pos <= $2 ORDER BY pos";
        for row in client.query(log, &[&self.item_pos, &after.item_pos]).await? {
            let link = Link { state: row.get(1), name: row.get(2) };
            truth.items.entry(row.get(0)).or_insert_with(|| Chain::new(None)).push(link);
        }
        let log = "SELECT home::bigint, name FROM name_log WHERE pos > $1 AND pos <= $2 ORDER BY pos";
        for row in client.query(log, &[&self.name_pos, &after.name_pos]).await? {
            truth.names.push(Link { state: row.get(0), name: Some(row.get(1)) });
        }
        Ok(truth)
    }
}
