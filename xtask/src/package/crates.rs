//! The crates that are published, packed and compiled as whoever depends on them gets them, with the oldest Rust that they say they need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_cluster::{cargo, workspace_root};
use cache_sync_kit::{During, Error, Result, command};

use super::content::empty;
use super::made::Made;
use super::project::{Project, results, workshop};

/// A crate, and the directory that it is in.
const PUBLISHED: [(&str, &str); 3] =
    [("cache-sync-core", "core"), ("cache-sync-derive", "sdk/derive"), ("cache-sync", "sdk")];
/// What the registry shows, or a licence demands.
const FILES: [&str; 3] = ["Cargo.toml", "README.md", "LICENSE"];

/// Packs and compiles them.
///
/// # Errors
/// cargo refuses, or one lacks a file, or one does not compile.
pub(super) fn make(project: &Project) -> Result<Vec<Made>> {
    let packed = workshop().join("crates");
    let mut package = cargo();
    package.args(["package", "--no-verify", "--allow-dirty", "--locked", "--quiet", "--target-dir"]).arg(&packed);
    package.args(PUBLISHED.iter().flat_map(|(name, _)| ["--package", name]));
    command::output(&mut package)?;
    let scratch = workshop().join("crates-unpacked");
    empty(&scratch)?;
    let mut made = Vec::new();
    for (name, _) in PUBLISHED {
        let full = format!("{name}-{}", project.version);
        let file = results().join(format!("{full}.crate"));
        fs::copy(packed.join("package").join(format!("{full}.crate")), &file)?;
        command::output(
            Command::new("tar").arg("--extract").arg("--file").arg(&file).arg("--directory").arg(&scratch),
        )?;
        if let Some(missing) = FILES.iter().find(|name| !scratch.join(&full).join(name).is_file()) {
            return Err(Error::from(format!("{full}.crate has no {missing}")));
        }
        made.push(Made { file, checks: vec![format!("has {}", FILES.join(", "))] });
    }
    join(&scratch, project)?;
    for ((name, dir), made) in PUBLISHED.iter().zip(&mut made) {
        made.checks.push(compile(&scratch, name, &lowest_rust(dir)?)?);
    }
    Ok(made)
}

/// Makes a workspace of what was unpacked, in which they find each other, and everybody else's versions are ours.
fn join(scratch: &Path, project: &Project) -> Result<()> {
    let member = |name: &str| format!("{name}-{}", project.version);
    let members: Vec<String> = PUBLISHED.iter().map(|(name, _)| format!("\"{}\"", member(name))).collect();
    let patches: String =
        PUBLISHED.iter().map(|(name, _)| format!("{name} = {{ path = \"{}\" }}\n", member(name))).collect();
    let manifest =
        format!("[workspace]\nresolver = \"3\"\nmembers = [{}]\n\n[patch.crates-io]\n{patches}", members.join(", "));
    fs::write(scratch.join("Cargo.toml"), manifest)?;
    fs::copy(workspace_root().join("Cargo.lock"), scratch.join("Cargo.lock"))?;
    Ok(())
}

/// Compiles one with all its features, by Rust `version` if rustup brings it.
fn compile(scratch: &Path, name: &str, version: &str) -> Result<String> {
    let there = || command::succeeds(Command::new("rustup").args(["run", version, "cargo", "--version"]));
    if !there() && command::succeeds(Command::new("rustup").arg("--version")) {
        println!("Installing Rust {version} (rustup toolchain install)");
        command::run(Command::new("rustup").args(["toolchain", "install", version, "--profile", "minimal"]))?;
    }
    let (mut check, by) = if there() {
        let mut rustup = Command::new("rustup");
        rustup.args(["run", version, "cargo"]);
        (rustup, format!("Rust {version}, the lowest that it names"))
    } else {
        (cargo(), format!("this Rust (left out: {version}, the lowest that it names; rustup is not here)"))
    };
    check.args(["check", "--quiet", "--offline", "--all-features", "--package", name]).current_dir(scratch);
    check.env("CARGO_TARGET_DIR", workshop().join("crates-built"));
    command::output(&mut check).map_err(|error| format!("{name} with {by}: {error}"))?;
    Ok(format!("compiles as packed, with all features, by {by}"))
}

/// What the manifest says.
fn lowest_rust(dir: &str) -> Result<String> {
    let file: PathBuf = workspace_root().join(dir).join("Cargo.toml");
    let text = fs::read_to_string(&file).during(|| file.display().to_string())?;
    let version = text.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    version.map(str::to_owned).ok_or_else(|| Error::from(format!("{} names no Rust", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn their_readmes_stand_alone_and_say_what_the_manifests_say() {
        for (name, dir) in PUBLISHED {
            let readme = fs::read_to_string(workspace_root().join(dir).join("README.md")).unwrap();
            assert!(readme.starts_with(&format!("# {name}\n")), "{name}");
            // Links to files of the repository lead nowhere from a registry.
            assert!(!readme.contains("]("), "{name}");
            assert!(readme.contains(&format!("The lowest Rust is {}.", lowest_rust(dir).unwrap())), "{name}");
        }
    }
}
