//! docs/metrics.md leaves out no metric and no line of the log, and has none that there is not.

use cache_sync::METRICS;
use cache_sync_cluster::workspace_root;
use cache_sync_tests::document::read;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The cells of the document's table rows whose first one begins so.
fn rows(first: &[&str]) -> Vec<Vec<String>> {
    let document = read("docs/metrics.md");
    let cells = |line: &str| -> Option<Vec<String>> {
        let line = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(line.split(" | ").map(|cell| cell.trim().to_owned()).collect())
    };
    let is_one = |cells: &Vec<String>| first.iter().any(|first| cells[0].starts_with(first));
    document.lines().filter_map(cells).filter(is_one).collect()
}

#[test]
fn every_metric_is_there() {
    let labels = |labels: &[&str]| labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
    let metrics = METRICS.iter().map(|metric| {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        [format!("`{}`", metric.name), kind, metric.unit.into(), labels(metric.labels), metric.description.into()]
    });
    let written = rows(&["`cache_sync_"]).into_iter().map(|cells| {
        let [name, kind, unit, labels, meaning, ..] = &cells[..] else { panic!("{cells:?}") };
        [name, kind, unit, labels, meaning].map(String::clone)
    });
    assert_eq!(metrics.collect::<Vec<_>>(), written.collect::<Vec<_>>());
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The messages of all lines of this level: of each call the last text.
fn messages(source: &str, level: &str) -> Vec<String> {
    let begin = format!("tracing::{level}!(");
    let calls = source.split(&begin).skip(1);
    let message = |call: &str| {
        let call = call.split_once(");").map_or(call, |(call, _)| call);
        let call = call.split_once(")\n").map_or(call, |(call, _)| call);
        call.rsplit('"').nth(1).expect("a message").to_owned()
    };
    calls.map(message).collect()
}

#[test]
fn every_line_of_the_log_is_there() {
    let mut logged = BTreeSet::new();
    for file in ["sdk/src", "core/src"].iter().flat_map(|dir| sources(&workspace_root().join(dir))) {
        let source = fs::read_to_string(&file).unwrap();
        for level in ["warn", "error"] {
            logged.extend(
                messages(&source, level).into_iter().map(|message| format!("{} `{message}`", level.to_uppercase())),
            );
            assert!(!source.contains(&format!(" {level}!(")), "{}: write tracing::{level}!", file.display());
        }
    }
    let written: BTreeSet<_> =
        rows(&["WARN", "ERROR"]).into_iter().map(|cells| format!("{} {}", cells[0], cells[1])).collect();
    assert_eq!(logged, written);
}
