//! The source of PostgreSQL's tests, which the distribution has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_cluster::{Postgres, python};
use cache_sync_kit::{Error, Result, command};

/// Names the directory of PostgreSQL's source, where it cannot be had by apt.
const SOURCE_VARIABLE: &str = "CACHE_SYNC_PG_SOURCE";

/// The directory `src/test/regress` of the source of `postgres`: the one that the environment names, else one that is unpacked in `dir`.
///
/// # Errors
/// It cannot be had.
pub(super) fn tests_of(postgres: &Postgres, dir: &Path) -> Result<PathBuf> {
    if let Some(source) = std::env::var_os(SOURCE_VARIABLE) {
        return Ok(PathBuf::from(source).join("src/test/regress"));
    }
    let unpacked = dir.join("src/test/regress");
    if !unpacked.join("parallel_schedule").is_file() {
        unpack(postgres, dir)?;
    }
    Ok(unpacked)
}

/// Gets the source package by apt and unpacks the tests.
fn unpack(postgres: &Postgres, dir: &Path) -> Result<()> {
    let how = format!("set {SOURCE_VARIABLE} to the directory of PostgreSQL {}'s source", postgres.major);
    let lists = dir.join("apt");
    fs::create_dir_all(lists.join("partial"))?;
    fs::write(dir.join("source.sources"), source_entries(".sources", "Types: deb", "Types: deb-src"))?;
    fs::write(dir.join("source.list"), source_entries(".list", "deb ", "deb-src "))?;
    let file =
        if fs::read_to_string(dir.join("source.sources"))?.is_empty() { "source.list" } else { "source.sources" };
    let options = [
        format!("Dir::Etc::SourceList={}", dir.join(file).display()),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("Dir::State::Lists={}", lists.display()),
    ];
    let apt = |program: &str| {
        let mut apt = Command::new(program);
        apt.current_dir(dir).args(options.iter().flat_map(|option| ["-o", option]));
        apt
    };
    let package = format!("postgresql-{}", postgres.major);
    println!("Getting the source package {package} for its tests.");
    command::run(apt("apt-get").args(["-qq", "update"])).map_err(|error| Error::from(format!("{error}; {how}")))?;
    let shown = command::output(apt("apt-cache").args(["showsrc", &package]))
        .map_err(|error| Error::from(format!("{error}; {how}")))?;
    let mut versions: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("Version: ")).collect();
    versions.sort_unstable();
    // The newest one may not be on the mirror yet, or no longer. The tests of a minor version run on any other.
    let found = versions.iter().rev().find(|version| {
        let named = format!("{package}={version}");
        command::run(apt("apt-get").args(["-qq", "source", "--download-only", "--tar-only", &named])).is_ok()
    });
    let version = found.ok_or_else(|| Error::from(format!("apt offers no source of {package}; {how}")))?;
    println!("The tests are those of {package} {version}.");
    let archive =
        fs::read_dir(dir)?.flatten().map(|file| file.path()).find(|file| file.to_string_lossy().contains(".orig.tar"));
    let archive = archive.ok_or_else(|| Error::from(format!("apt downloaded nothing; {how}")))?;
    let mut python = Command::new(python()?);
    command::run(python.args(["-c", UNPACK]).arg(&archive).arg(dir))?;
    fs::remove_file(archive)?;
    Ok(())
}

/// Unpacks src/test/regress of an archive (tar would need the compressor, which may be missing).
const UNPACK: &str = "
import sys, tarfile
archive, into = sys.argv[1:]
with tarfile.open(archive) as tar:
    for member in tar:
        member.name = member.name.partition('/')[2]
        if member.name.startswith('src/test/regress/') and (member.isfile() or member.isdir()):
            tar.extract(member, into)
";

/// The distribution's entries for packages, as entries for their sources.
fn source_entries(suffix: &str, from: &str, to: &str) -> String {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|file| file.path()));
    let mut text = String::new();
    for file in files.iter().filter(|file| file.to_string_lossy().ends_with(suffix)) {
        let entries = fs::read_to_string(file).unwrap_or_default();
        if ["debian.org", "ubuntu.com", "/debian", "/ubuntu"].iter().any(|host| entries.contains(host)) {
            for line in entries.lines() {
                let line = line.strip_prefix(from).map_or(line.to_owned(), |rest| format!("{to}{rest}"));
                text.push_str(&line);
                text.push('\n');
            }
            text.push('\n');
        }
    }
    text
}
