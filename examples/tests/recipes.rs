//! The recipes show what the programs do: each block of docs/guide/recipes.md stands in the program that its section names.

use cache_sync_cluster::workspace_root;
use cache_sync_tests::document::{blocks, read};
use std::collections::BTreeSet;

const GUIDE: &str = "docs/guide/recipes.md";
/// What a recipe says in its first lines.
const PROMISES: [&str; 2] = ["//! **When** ", "//! **When two nodes race**"];

/// The files that a text links to, from the repository's directory on.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](../../").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// A line without what it is set in: indentation, and the quotes of a string of SQL with what follows them.
fn bare(line: &str) -> &str {
    let line = line.trim();
    let line = line.strip_prefix("r#\"").or(line.strip_prefix('"')).unwrap_or(line);
    let line = ["\"#,", "\",", "\"#", "\""].iter().find_map(|end| line.strip_suffix(end)).unwrap_or(line);
    line.strip_suffix(';').unwrap_or(line)
}

/// Whether the lines of a block stand in a program, in their order, without others between them but where it says `...`.
fn stands_in(block: &str, source: &str) -> bool {
    // SQL in an ordinary string has its quotes escaped, and may have several statements in a line.
    let source = source.replace("\\\"", "\"").replace("; SELECT", ";\nSELECT");
    let source: Vec<_> = source.lines().map(bare).collect();
    let mut from = 0;
    block.split("...\n").all(|run| {
        let run: Vec<_> = run.lines().map(bare).collect();
        let at = source[from..].windows(run.len()).position(|window| window == run);
        from += at.unwrap_or(0) + run.len();
        at.is_some()
    })
}

#[test]
fn each_block_stands_in_the_program_of_its_section() {
    let guide = read(GUIDE);
    let mut shown = 0;
    for section in guide.split("\n## ").skip(1) {
        let Some(file) = links(section).into_iter().next() else { panic!("no program: {section}") };
        for block in blocks(section) {
            shown += 1;
            assert!(!block.text.trim().is_empty());
            assert!(stands_in(&block.text, &read(&file)), "{file} has it otherwise:\n{}", block.text);
        }
    }
    assert_eq!(shown, 18, "two for each recipe");
}

#[test]
fn every_recipe_is_in_the_guide_and_says_what_happens_when_nodes_race() {
    let guide = read(GUIDE);
    let linked: BTreeSet<_> = links(&guide).into_iter().collect();
    for file in &linked {
        assert!(workspace_root().join(file).exists(), "{file}");
    }
    let named = guide.lines().filter(|line| line.starts_with("| [")).filter_map(|row| row.split(" | ").nth(1));
    for name in named.flat_map(|programs| programs.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
    {
        let source = read(&format!("examples/src/bin/{name}.rs"));
        assert!(PROMISES.iter().all(|promise| source.contains(promise)), "{name}");
        assert!(linked.contains(&format!("examples/src/bin/{name}.rs")), "{name}");
    }
    let programs = std::fs::read_dir(workspace_root().join("examples/src/bin")).expect("there are programs");
    for program in programs.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()) {
        let file = format!("examples/src/bin/{program}");
        assert!(!read(&file).contains(PROMISES[1]) || linked.contains(&file), "{file} is not in the guide");
    }
}

#[test]
fn what_stands_otherwise_is_found() {
    let source = "    sql.run(\n        r#\"CREATE TABLE t (a int);\n           SELECT 1\"#,\n    )\n    let a = 1;\n    let b = 2;\n    let c = 3;\n";
    for (block, stands) in [
        ("CREATE TABLE t (a int);\nSELECT 1;\n", true),
        ("let a = 1;\nlet b = 2;\n", true),
        ("let a = 1;\n...\nlet c = 3;\n", true),
        ("let a = 1;\nlet c = 3;\n", false),
        ("let c = 3;\n...\nlet a = 1;\n", false),
        ("let a = 4;\n", false),
    ] {
        assert_eq!(stands_in(block, source), stands, "{block}");
    }
}
