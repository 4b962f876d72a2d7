//! What comes out of several shapes, in a few figures of each peer.

use super::kind::Kind;
use super::shape::Shape;
use super::table::{Table, markdown, print};

const TITLE: &str = "in short";
const COLUMNS: [&str; 6] = [
    "",
    "a read (one)",
    "reads/s of two nodes (C)",
    "statements/op with 5 % writes (B)",
    "stale reads while another program writes (sql)",
    "lost of read-modify-writes (F; cache_sync adds)",
];

/// One line for each peer, if there are all the shapes that it tells of.
pub(super) struct Summary(Vec<[String; COLUMNS.len()]>);

impl Summary {
    pub(super) fn of(tables: &[Table]) -> Option<Summary> {
        let line = |shape: Shape, kind: Kind| {
            let table = tables.iter().find(|table| table.shape == shape)?;
            table.lines.iter().find(|line| line.kind == kind)
        };
        let row = |kind: Kind| {
            Some([
                kind.title().to_owned(),
                line(Shape::One, kind)?.read_median(),
                line(Shape::C, kind)?.rate(),
                line(Shape::B, kind)?.statements(),
                line(Shape::Sql, kind)?.stale_share(),
                line(Shape::F, kind)?.lost(),
            ])
        };
        let rows: Option<Vec<_>> = Kind::ALL.into_iter().map(row).collect();
        rows.map(|rows| Summary([COLUMNS.map(str::to_owned)].into_iter().chain(rows).collect()))
    }

    pub(super) fn print(&self) {
        println!("\n{TITLE}");
        print(&self.0);
    }

    /// The same for a document.
    pub(super) fn markdown(&self) -> String {
        format!("**{TITLE}**\n\n{}", markdown(&self.0))
    }
}
