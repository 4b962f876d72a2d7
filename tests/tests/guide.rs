//! The guide names what there is: settings, fields, views, files, messages.

// A test has nothing better to do than to panic.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn guide() -> Vec<(PathBuf, String)> {
    let dir = root().join("docs/guide");
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let pages: Vec<_> = pages.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    assert!(pages.len() >= 3, "{}", pages.len());
    pages
}

/// Every source of the SDK, in one text without breaks of lines in strings.
fn sources() -> String {
    fn read(dir: &Path, into: &mut String) {
        for file in fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                read(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                *into += &fs::read_to_string(&path).unwrap();
            }
        }
    }
    let mut text = String::new();
    read(&root().join("sdk/src"), &mut text);
    read(&root().join("core/src"), &mut text);
    let mut joined = String::with_capacity(text.len());
    let mut parts = text.split("\\\n");
    joined += parts.next().unwrap();
    parts.for_each(|part| joined += part.trim_start());
    joined
}

/// What stands in backquotes outside of blocks.
fn quoted(page: &str) -> Vec<&str> {
    let outside = page.split("```").step_by(2);
    outside.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn links_lead_somewhere() {
    for (path, page) in guide() {
        for link in page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = link.split('#').next().unwrap();
            let there = path.parent().unwrap().join(file);
            assert!(file.starts_with("http") || file.is_empty() || there.exists(), "{}: {link}", path.display());
        }
    }
}

#[test]
fn fields_and_views_exist() {
    let (sources, sql) = (sources(), fs::read_to_string(root().join("docs/sql.md")).unwrap());
    let mut seen = 0;
    for (path, page) in guide() {
        for name in quoted(&page) {
            let field = name.strip_prefix("Status::").or_else(|| name.strip_prefix("CacheStatus::"));
            let is_there = match field {
                Some(field) => sources.contains(&format!("pub {field}: ")),
                None if name.starts_with("cache_sync.") => {
                    sql.contains(name) || sql.contains(&name["cache_sync.".len()..])
                }
                None => continue,
            };
            seen += 1;
            assert!(is_there, "{}: {name}", path.display());
        }
    }
    assert!(seen > 10, "{seen}");
}

/// Who searches for the words of an error finds them as they are.
#[test]
fn messages_are_those_of_the_code() {
    let sources = sources();
    let page = fs::read_to_string(root().join("docs/guide/troubleshooting.md")).unwrap();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 15, "{}", rows.len());
    for row in rows {
        let message = row.split('`').nth(1).unwrap();
        assert!(sources.contains(message), "no error says: {message}");
    }
}
