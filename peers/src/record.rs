//! A row of about a kilobyte, as YCSB has it, and a change of it.

use serde::{Deserialize, Serialize};

/// How many text columns a row has.
pub const FIELDS: usize = 10;
/// How long the text in one is.
pub const FIELD_BYTES: usize = 100;

/// A row but for its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The highest number of a write so far.
    pub version: i64,
    /// What is counted.
    pub counter: i64,
    /// The first of the texts.
    pub field0: String,
    /// A text.
    pub field1: String,
    /// A text.
    pub field2: String,
    /// A text.
    pub field3: String,
    /// A text.
    pub field4: String,
    /// A text.
    pub field5: String,
    /// A text.
    pub field6: String,
    /// A text.
    pub field7: String,
    /// A text.
    pub field8: String,
    /// The last of the texts.
    pub field9: String,
}

impl Record {
    /// A row with this text everywhere.
    pub fn filled(version: i64, text: &str) -> Record {
        let text = || text.to_owned();
        Record {
            version,
            counter: 0,
            field0: text(),
            field1: text(),
            field2: text(),
            field3: text(),
            field4: text(),
            field5: text(),
            field6: text(),
            field7: text(),
            field8: text(),
            field9: text(),
        }
    }

    /// The texts in their order.
    pub fn fields(&self) -> [&str; FIELDS] {
        [
            &self.field0,
            &self.field1,
            &self.field2,
            &self.field3,
            &self.field4,
            &self.field5,
            &self.field6,
            &self.field7,
            &self.field8,
            &self.field9,
        ]
    }
}

/// What is written, under a number: the row's version becomes that if it was lower, so that whoever reads can tell what he
/// has seen, in whichever order writes arrive.
#[derive(Debug, Clone, Copy)]
pub struct Write<'t> {
    /// Whose row.
    pub key: i64,
    /// The number, which is above those of all writes of this key that were confirmed before.
    pub version: i64,
    /// What changes.
    pub change: Change<'t>,
}

/// What a write changes.
#[derive(Debug, Clone, Copy)]
pub enum Change<'t> {
    /// One of the texts.
    Field {
        /// Which.
        number: usize,
        /// What it becomes.
        text: &'t str,
    },
    /// One is added to the counter.
    Count,
    /// The counter becomes one more than in this row that was read.
    CountFrom(&'t Record),
    /// A row that is new, with this text everywhere.
    Insert(&'t str),
}
