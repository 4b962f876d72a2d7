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

/// Every source of the SDK without comments, in one text without breaks of lines in strings.
fn sources() -> String {
    fn read(dir: &Path, into: &mut String) {
        for file in fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                read(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                code.for_each(|line| *into += &format!("{line}\n"));
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

/// The public fields of a struct.
fn fields<'s>(sources: &'s str, name: &str) -> Vec<&'s str> {
    let (_, after) = sources.split_once(&format!("pub struct {name} {{\n")).unwrap();
    let body = after.split("\n}").next().unwrap();
    let public = body.lines().filter_map(|line| line.trim().strip_prefix("pub "));
    public.map(|field| field.split(':').next().unwrap()).collect()
}

/// What stands in backquotes outside of blocks.
fn quoted(page: &str) -> Vec<&str> {
    let outside = page.split("```").step_by(2);
    outside.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

/// Whether a text has a name, not only one that it is a part of.
fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|there| there == word)
}

/// The places of a page that links may lead to, as forges name them.
fn anchors(page: &str) -> Vec<String> {
    let outside: String = page.split("```").step_by(2).collect();
    let headings = outside.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut pages = guide();
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|file| file.unwrap().path());
    let others = docs.chain([root().join("README.md")]).filter(|path| path.extension().is_some_and(|is| is == "md"));
    pages.extend(others.map(|path| (path.clone(), fs::read_to_string(path).unwrap())));
    let (mut seen, mut wrong) = (0, Vec::new());
    for (path, page) in &pages {
        let outside: String = page.split("```").step_by(2).collect();
        for link in outside.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.starts_with("http") {
                continue;
            }
            let there = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let leads = there.exists()
                && (anchor.is_empty()
                    || anchors(&fs::read_to_string(&there).unwrap()).iter().any(|place| place == anchor));
            seen += 1;
            if !leads {
                wrong.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(seen > 50 && wrong.is_empty(), "of {seen}: {wrong:#?}");
}

#[test]
fn fields_and_views_exist() {
    let (sources, sql) = (sources(), fs::read_to_string(root().join("docs/sql.md")).unwrap());
    let (of_client, of_cache) = (fields(&sources, "Status"), fields(&sources, "CacheStatus"));
    assert!(of_client.len() > 10 && of_cache.len() > 10, "{of_client:?} {of_cache:?}");
    let mut seen = 0;
    for (path, page) in guide() {
        for name in quoted(&page) {
            let is_there = match name.split_once("::") {
                Some(("Status", field)) => of_client.contains(&field),
                Some(("CacheStatus", field)) => of_cache.contains(&field),
                _ => match name.strip_prefix("cache_sync.") {
                    Some(of_server) => has_word(&sql, of_server.split('(').next().unwrap()),
                    None => continue,
                },
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

/// The README has the figures that were printed last.
#[test]
fn the_comparison_in_short_is_the_one_that_was_printed() {
    let (readme, peers) =
        ["README.md", "docs/peers.md"].map(|path| fs::read_to_string(root().join(path)).unwrap()).into();
    let (_, after) = peers.split_once("**in short**\n\n").unwrap();
    let table = after.split("\n\n").next().unwrap();
    assert!(table.lines().count() > 5 && readme.contains(table), "{table}");
}
