//! What the documents tell people to type works as it stands there.

use cache_sync_tests::document::{blocks_in, read};
use cache_sync_tests::{Database, cluster, output};

#[test]
fn the_tour_with_psql_in_the_readme() {
    let blocks = blocks_in(&read("README.md"), "sql");
    assert_eq!(blocks.len(), 1);
    let db = Database::empty_in(cluster());
    // Statement by statement, as it is typed: what is not committed yet is not in the feed.
    let statements = blocks[0].split_inclusive(";\n").flat_map(|statement| ["-c", statement]);
    let shown = output(db.client("psql").args(["-XqAt", "-v", "ON_ERROR_STOP=1"]).args(statements));
    assert!(shown.contains("applied"), "{shown}");
    assert!(shown.contains("Home|42"), "{shown}");
    assert!(shown.contains("versioned|page|t"), "{shown}");
    // It says how to be rid of it, for later: the tour in Rust goes on with the table.
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.tables"), "1");
    let end = "SELECT cache_sync.detach_all(drop_columns => true)";
    assert!(read("README.md").contains(&format!("`{end}`")));
    db.psql(end);
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.tables"), "0");
}

#[test]
fn the_table_of_the_tour_in_the_crates_documentation() {
    let source = read("sdk/src/lib.rs");
    let documentation: String = source
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    let blocks = blocks_in(&documentation, "sql");
    assert_eq!(blocks.len(), 1);
    let db = Database::empty_in(cluster());
    db.psql(&blocks[0]);
    assert_eq!(db.psql("SELECT tbl, versioned FROM cache_sync.tables"), "player|t");
}

#[test]
fn the_readme_is_short() {
    assert!(read("README.md").lines().count() <= 180);
}
