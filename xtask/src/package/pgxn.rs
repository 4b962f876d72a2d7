//! What PGXN, the network of PostgreSQL's extensions, is given: the sources, a description of them, and how to make them.

use std::fs;
use std::path::Path;
use std::process::Command;

use cache_sync_cluster::workspace_root;
use cache_sync_kit::{Error, Result, command};
use serde_json::{Value, json};

use super::content::empty;
use super::made::Made;
use super::place::{Debian, in_source, lent};
use super::project::{DESCRIPTION, Project, SUMMARY, results, workshop};

const MAKEFILE: &str = include_str!("pgxn.mk");
/// What must be there, by version 1.0.0 of the specification.
const REQUIRED: [&str; 6] = ["name", "version", "abstract", "maintainer", "license", "provides"];

/// Makes description and archive; the latter is tried with PostgreSQL `major`.
///
/// # Errors
/// The description is not valid, or there is no git checkout.
pub(super) fn make(project: &Project, major: u32) -> Result<Vec<Made>> {
    let meta = meta(project);
    let wrong = faults(&meta, |file| workspace_root().join(file).is_file());
    if !wrong.is_empty() {
        return Err(Error::from(format!("META.json: {}", wrong.join("; "))));
    }
    let dir = workshop().join("pgxn");
    empty(&dir)?;
    fs::write(dir.join("META.json"), format!("{meta:#}\n"))?;
    fs::write(dir.join("Makefile"), MAKEFILE)?;
    let full = format!("cache_sync-{}", project.version);
    let archive = results().join(format!("{full}.zip"));
    let mut git = Command::new("git");
    git.args(["archive", "--format=zip"]).arg(format!("--prefix={full}/")).arg("--output").arg(&archive);
    git.args(["META.json", "Makefile"].map(|name| format!("--add-file={}", dir.join(name).display())));
    command::output(git.arg("HEAD").current_dir(workspace_root()))?;
    let described = results().join("META.json");
    fs::copy(dir.join("META.json"), &described)?;
    let tried = match Debian::with_postgres(major) {
        Ok(debian) => make_and_install(&archive, &dir, &debian)?,
        Err(why) => format!("left out: make, make install ({why})"),
    };
    Ok(vec![
        Made { file: described, checks: vec!["holds what version 1.0.0 of the specification asks for".to_owned()] },
        Made { file: archive, checks: vec!["the last commit, with META.json and a Makefile".to_owned(), tried] },
    ])
}

/// Does with the archive what who gets it does.
fn make_and_install(archive: &Path, dir: &Path, debian: &Debian) -> Result<String> {
    cache_sync_cluster::install_missing(&[("unzip", "unzip")])?;
    command::output(Command::new("unzip").arg("-q").arg(archive).arg("-d").arg(dir.join("unpacked")))?;
    let source = fs::read_dir(dir.join("unpacked"))?.next().ok_or("the archive is empty")??.path();
    let work = dir.join("work");
    empty(&work)?;
    let major = debian.release.postgres;
    let folder = debian.to_build()?;
    let lent = lent(&source, &debian.built("built")?, &work)?;
    let mut make = in_source(&folder, "make", &lent)?;
    let arguments = [format!("PG_CONFIG=/usr/lib/postgresql/{major}/bin/pg_config"), "DESTDIR=/work".to_owned()];
    command::output(make.args(["all", "install"]).args(&arguments))?;
    let installed = [
        format!("usr/lib/postgresql/{major}/lib/cache_sync.so"),
        format!("usr/share/postgresql/{major}/extension/cache_sync.control"),
        format!("usr/share/postgresql/{major}/extension/cache_sync--{}.sql", env!("CARGO_PKG_VERSION")),
    ];
    if let Some(missing) = installed.iter().find(|file| !work.join(file).is_file()) {
        return Err(Error::from(format!("make install does not install {missing}")));
    }
    command::output(in_source(&folder, "make", &lent)?.arg("uninstall").args(&arguments))?;
    let left = installed.iter().find(|file| work.join(file).exists());
    left.map_or_else(
        || Ok(format!("make, make install, make uninstall in a Debian {}", debian.release.name)),
        |left| Err(Error::from(format!("make uninstall leaves {left}"))),
    )
}

fn meta(project: &Project) -> Value {
    json!({
        "name": "cache_sync",
        "abstract": SUMMARY,
        "description": DESCRIPTION.join(" "),
        "version": project.version,
        "maintainer": [project.maintainer],
        "license": "mit",
        "provides": {
            "cache_sync": {
                "abstract": SUMMARY,
                "file": "pg_ext/cache_sync.control",
                "docfile": "docs/sql.md",
                "version": project.version,
            }
        },
        "prereqs": {"runtime": {"requires": {"PostgreSQL": "15.1.0"}}},
        "tags": ["cache", "change feed", "conflict resolution", "write-behind", "rust"],
        "meta-spec": {"version": "1.0.0"},
    })
}

/// What is not as the specification has it; `exists` tells of the files that it names.
fn faults(meta: &Value, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(REQUIRED.iter().filter(|name| meta[**name].is_null()).map(|name| format!("{name} is missing")));
    if meta["meta-spec"]["version"].as_str().is_none_or(|version| !is_version(version)) {
        wrong.push("meta-spec has no version".to_owned());
    }
    if meta["version"].as_str().is_none_or(|version| !is_version(version)) {
        wrong.push(format!("{} is no semantic version", meta["version"]));
    }
    if !meta["name"].as_str().is_some_and(is_term) {
        wrong.push(format!("{} is no name", meta["name"]));
    }
    for (name, extension) in meta["provides"].as_object().into_iter().flatten() {
        if !extension["version"].as_str().is_some_and(is_version) {
            wrong.push(format!("{name} has no semantic version"));
        }
        for file in ["file", "docfile"] {
            if !extension[file].as_str().is_some_and(&exists) {
                wrong.push(format!("{name}: there is no {file} {}", extension[file]));
            }
        }
    }
    let tags = meta["tags"].as_array().into_iter().flatten();
    wrong.extend(tags.filter(|tag| !tag.as_str().is_some_and(is_tag)).map(|tag| format!("{tag} is no tag")));
    wrong
}

/// Three numbers without leading zeros, and perhaps what tells of a version before.
fn is_version(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let is_number = |part: &str| part == "0" || !part.starts_with('0') && part.parse::<u32>().is_ok();
    core.split('.').count() == 3 && core.split('.').all(is_number)
}

/// At least two characters, none of which a path or an address would take for something else.
fn is_term(text: &str) -> bool {
    text.chars().count() >= 2 && !text.chars().any(|c| c.is_whitespace() || c.is_control() || "/\\".contains(c))
}

fn is_tag(text: &str) -> bool {
    (2..256).contains(&text.chars().count()) && !text.chars().any(|c| c.is_control() || "/\\".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_today() -> Value {
        meta(&Project { version: "0.2.0", epoch: 0, maintainer: "somebody <a@b.invalid>".to_owned() })
    }

    #[test]
    fn what_is_told_is_what_the_specification_asks_for() {
        assert_eq!(faults(&of_today(), |_| true), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_told() {
        let faults_with = |pointer: &str, value: Value| {
            let mut meta = of_today();
            *meta.pointer_mut(pointer).unwrap() = value;
            faults(&meta, |_| true)
        };
        assert_eq!(faults_with("/license", Value::Null), ["license is missing"]);
        assert_eq!(faults_with("/version", json!("0.2")), ["\"0.2\" is no semantic version"]);
        assert_eq!(faults_with("/name", json!("cache/sync")), ["\"cache/sync\" is no name"]);
        assert_eq!(faults_with("/tags/0", json!("a/b")), ["\"a/b\" is no tag"]);
        assert_eq!(faults_with("/meta-spec/version", json!(1)), ["meta-spec has no version"]);
        let wrong = faults(&of_today(), |file| file != "docs/sql.md");
        assert_eq!(wrong, ["cache_sync: there is no docfile \"docs/sql.md\""]);
    }
}
