//! What Postgres may not have when a client closes.

use cache_sync_core::number::Version;

/// A write that Postgres may not have when the client closes, as the functions for SQL take it (docs/sql.md).
///
/// [`Unwritten::to_sql`] is the statement that applies it. Whether a batch that was under way has been applied, nobody could tell any
/// more: look at the row before you add to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unwritten {
    /// The table with its schema, as SQL writes it.
    pub table: String,
    /// The key's columns as a JSON object.
    pub key: String,
    /// What is to become of the row.
    pub operation: Operation,
    /// The fields by column as a JSON object; in an edit what their rules take: the change for `add`, the new elements for `append`, and
    /// so on. Empty for a deletion.
    pub patch: String,
    /// When it was written, on the server's hybrid clock, as versions are.
    pub stamp: i64,
}

/// What a write is to make of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Its fields are merged into a row that exists.
    Edit,
    /// Its fields are set; counters and lists of a row that exists are left alone.
    Put {
        /// A row that is missing is created: the writer had not seen one.
        creates: bool,
    },
    /// The row is deleted, and written anew.
    Replace,
    /// The row is deleted.
    Delete,
    /// Its fields are set, whatever their rules, if the row is the one that is expected.
    CompareAndSet {
        /// The row's version; [`Version::NONE`]: there is no row. `None`: there is no row, or one without a version.
        expected: Option<Version>,
    },
}

impl Unwritten {
    /// The statements that apply it now, for psql. A row that was seen and is gone is not created.
    pub fn to_sql(&self) -> String {
        let Unwritten { table, key, patch, .. } = self;
        let (tbl, key_text) = (literal(table), literal(key));
        let document = match patch.as_str() {
            "{}" => key.clone(),
            patch => format!("{},{}", &key[..key.len() - 1], &patch[1..]),
        };
        let upsert = format!("cache_sync.upsert({tbl}, {})", literal(&document));
        let delete = format!("SELECT * FROM cache_sync.delete({tbl}, {key_text})");
        match self.operation {
            Operation::Edit => format!("SELECT * FROM cache_sync.edit({tbl}, {key_text}, {})", literal(patch)),
            Operation::Put { creates: true } => format!("SELECT * FROM {upsert}"),
            // An edit of nothing tells whether the row is there.
            Operation::Put { creates: false } => format!(
                "SELECT CASE WHEN (cache_sync.edit({tbl}, {key_text}, '{{}}')).outcome = 'missing' THEN 'missing' \
                 ELSE ({upsert}).outcome END AS outcome"
            ),
            Operation::Replace => format!("{delete};\nSELECT * FROM {upsert}"),
            Operation::Delete => delete,
            Operation::CompareAndSet { expected } => format!(
                "SELECT * FROM cache_sync.compare_and_set({tbl}, {}, {})",
                literal(&document),
                expected.map_or("NULL".to_owned(), |version| version.to_string())
            ),
        }
    }
}

fn literal(text: &str) -> String {
    // A backslash means itself whatever `standard_conforming_strings` is.
    match text.contains('\\') {
        true => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}
