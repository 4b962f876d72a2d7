//! What the documents tell people to type works as it stands there.

use cache_sync_cluster::workspace_root;
use cache_sync_tests::{Database, cluster, output};

/// The blocks of SQL in a text, without the marks of doc comments.
fn sql_blocks(text: &str) -> Vec<String> {
    let plain: Vec<&str> = text.lines().map(|line| line.trim_start_matches("//!").trim_start()).collect();
    let blocks = plain.split(|line| *line == "```sql").skip(1);
    blocks
        .map(|block| block.iter().take_while(|line| **line != "```").map(|line| format!("{line}\n")).collect())
        .collect()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(workspace_root().join(file)).unwrap()
}

#[test]
fn the_tour_with_psql_in_the_readme() {
    let blocks = sql_blocks(&read("README.md"));
    assert_eq!(blocks.len(), 1);
    let db = Database::empty_in(cluster());
    // Statement by statement, as it is typed: what is not committed yet is not in the feed.
    let statements = blocks[0].split_inclusive(";\n").flat_map(|statement| ["-c", statement]);
    let shown = output(db.client("psql").args(["-XqAt", "-v", "ON_ERROR_STOP=1"]).args(statements));
    assert!(shown.contains("applied"), "{shown}");
    assert!(shown.contains("Home|42"), "{shown}");
    assert!(shown.contains("versioned|page|t"), "{shown}");
    assert_eq!(db.psql("SELECT count(*) FROM cache_sync.tables"), "0");
}

#[test]
fn the_table_of_the_tour_in_the_crates_documentation() {
    let blocks = sql_blocks(&read("sdk/src/lib.rs"));
    assert_eq!(blocks.len(), 1);
    let db = Database::empty_in(cluster());
    db.psql(&blocks[0]);
    assert_eq!(db.psql("SELECT tbl, versioned FROM cache_sync.tables"), "player|t");
}

#[test]
fn the_readme_is_short() {
    assert!(read("README.md").lines().count() <= 150);
}
