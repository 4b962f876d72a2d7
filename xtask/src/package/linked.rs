//! The licences of the crates that are linked into the library: whoever hands on a package hands on these, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cache_sync_cluster::cargo;
use cache_sync_kit::{During, Error, Result, command};
use serde_json::Value;

/// How files begin that say under which licence a crate is.
const LICENCE_FILES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// A crate.
struct Crate {
    /// Name and version.
    name: String,
    /// As its manifest has it.
    licence: String,
    /// Where it is kept, to look there for what is not in it; none if its manifest does not say.
    home: Option<String>,
    dir: PathBuf,
}

/// A text with the list of crates that are linked into the extension for PostgreSQL `major`, and each licence's text once. Who left the
/// text out of his crate is named with the place where it is.
///
/// # Errors
/// cargo does not tell, or a crate says nothing of its licence, or has neither its text nor a place where it is.
pub(super) fn licences(major: u32) -> Result<String> {
    let crates = linked(major)?;
    let mut text = String::from(
        "The library cache_sync has these crates linked into it, and the standard library of Rust (MIT OR Apache-2.0).\n\n",
    );
    let mut texts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut without = String::new();
    for one in &crates {
        text += &format!("{:<36} {}\n", one.name, one.licence);
        let theirs = licence_texts(&one.dir)?;
        if theirs.is_empty() {
            let home =
                one.home.as_ref().ok_or_else(|| Error::from(format!("{} has no text of its licence", one.name)))?;
            without += &format!("{:<36} {home}\n", one.name);
        }
        theirs.into_iter().for_each(|licence| texts.entry(licence).or_default().push(&one.name));
    }
    if !without.is_empty() {
        text += &format!("\nThese come without the text of their licence. It is where they are:\n\n{without}");
    }
    let mut texts: Vec<_> = texts.into_iter().collect();
    texts.sort_by(|(_, a), (_, b)| a.cmp(b));
    for (licence, of) in texts {
        text += &format!("\n{}\n{}\n\n{}\n", "-".repeat(80), of.join(", "), licence.trim_end());
    }
    Ok(text)
}

/// Crates of others in the library; what runs while it is compiled is not in it.
fn linked(major: u32) -> Result<Vec<Crate>> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--package", "cache-sync-pg", "--no-default-features", "--features"]);
    tree.arg(format!("pg{major}")).args(["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]);
    let said = command::output(&mut tree)?;
    let named: Vec<(&str, &str)> = said.lines().filter_map(name_and_version).collect();
    let metadata = command::output(cargo().args(["metadata", "--locked", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).during(|| "cargo metadata".to_owned())?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    // What is of the workspace comes from nowhere.
    let others = packages.iter().filter(|package| !package["source"].is_null());
    let mut crates = Vec::new();
    for package in others {
        let (name, version) = (text(package, "name")?, text(package, "version")?);
        if named.contains(&(name, version)) {
            let dir = Path::new(text(package, "manifest_path")?).with_file_name("");
            let licence = text(package, "license")?.to_owned();
            let home = text(package, "repository").ok().map(str::to_owned);
            crates.push(Crate { name: format!("{name} {version}"), licence, home, dir });
        }
    }
    crates.sort_by(|a, b| a.name.cmp(&b.name));
    if crates.is_empty() { Err(Error::from("cargo names no crate of the library")) } else { Ok(crates) }
}

fn text<'p>(package: &'p Value, member: &str) -> Result<&'p str> {
    package[member].as_str().ok_or_else(|| Error::from(format!("{} has no {member}", package["name"])))
}

/// From `serde v1.0.1`, behind which there may be a path or a mark that it was listed before.
fn name_and_version(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(" v")?;
    Some((name, rest.split_whitespace().next()?))
}

fn licence_texts(dir: &Path) -> Result<Vec<String>> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .during(|| dir.display().to_string())?
        .map(|file| Ok(file?.path()))
        .collect::<std::io::Result<_>>()?;
    files.retain(|file| file.is_file() && is_licence(&file.file_name().unwrap_or_default().to_string_lossy()));
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).during(|| file.display().to_string())).collect()
}

fn is_licence(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    LICENCE_FILES.iter().any(|begin| name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_cargo_lists() {
        assert_eq!(name_and_version("serde v1.0.1 (*)"), Some(("serde", "1.0.1")));
        assert_eq!(name_and_version(""), None);
        assert!(is_licence("License-MIT") && !is_licence("README.md"));
    }

    #[test]
    fn whoever_wrote_what_is_linked_is_named() {
        let text = licences(17).unwrap();
        assert!(text.contains("\npgrx 0."), "{text}");
        // What is needed to compile only, and what is of this workspace, is not in the library.
        assert!(!text.contains("\nbindgen ") && !text.contains("\ncache-sync"), "{text}");
        assert!(text.contains("Permission is hereby granted"));
    }
}
