//! The packages of Debian and Ubuntu.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache_sync_kit::{Error, Result, command};

use super::content::{Content, empty, put, settle};
use super::made::Made;
use super::place::{Kind, Place};
use super::project::{DESCRIPTION, Project, SUMMARY, read};

/// Makes the package into `to`, and has it looked at.
///
/// # Errors
/// It cannot be made, or is not as it should be.
pub(super) fn make(project: &Project, place: &Place, content: &Content, to: &Path) -> Result<Made> {
    let name = format!("postgresql-{}-cache-sync", place.major);
    let version = format!("{}-1~{}", project.version, place.suffix());
    let architecture = command::output(place.program("dpkg")?.arg("--print-architecture"))?.trim().to_owned();
    let root = place.work.join("deb");
    empty(&root)?;
    lay_out(&root, place.major, content)?;
    document(&root, &name, &version, project, content)?;
    let needs = format!("postgresql-{}{}, {}", place.major, least(place.major), shared_libraries(place, content)?);
    fs::create_dir_all(root.join("DEBIAN"))?;
    let control = control(&name, &version, &architecture, &needs, &project.maintainer);
    fs::write(root.join("DEBIAN/control"), control)?;
    let sums = "find usr -type f -exec md5sum {} + | LC_ALL=C sort -k 2 > DEBIAN/md5sums";
    command::output(Command::new("sh").args(["-euc", sums]).current_dir(&root))?;
    settle(&root, project.epoch)?;
    let file = place.work.join(format!("{name}_{version}_{architecture}.deb"));
    let mut pack = place.program("dpkg-deb")?;
    pack.env("SOURCE_DATE_EPOCH", project.epoch.to_string()).env("DPKG_DEB_THREADS_MAX", "1");
    pack.args(["--root-owner-group", "-Zxz", "--build"]).arg(place.path(&root)).arg(place.path(&file));
    command::output(&mut pack)?;
    let checked = lint(place, &file)?;
    let done = to.join(file.file_name().unwrap_or_default());
    fs::rename(&file, &done)?;
    Ok(Made { file: done, checks: vec![format!("needs {needs}"), checked] })
}

/// Where Debian's PostgreSQL looks for extensions.
fn lay_out(root: &Path, major: u32, content: &Content) -> Result<()> {
    put(&content.library(), &root.join(format!("usr/lib/postgresql/{major}/lib")))?;
    let extension = root.join(format!("usr/share/postgresql/{major}/extension"));
    content.scripts.iter().try_for_each(|script| put(script, &extension))
}

/// What Debian wants to be told with each package.
fn document(root: &Path, name: &str, version: &str, project: &Project, content: &Content) -> Result<()> {
    let dir = root.join("usr/share/doc").join(name);
    fs::create_dir_all(&dir)?;
    let text: String = read("LICENSE")?.lines().skip(4).map(|line| format!(" {}\n", or_dot(line))).collect();
    let copyright = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: cache_sync\nComment:\n \
         LICENSES-linked.txt.gz has the licences of what is linked into the library.\n\nFiles: *\nCopyright: 2026 the cache_sync \
         authors\nLicense: Expat\n\nLicense: Expat\n{text}"
    );
    fs::write(dir.join("copyright"), copyright)?;
    let changes = format!(
        "cache-sync ({version}) unstable; urgency=medium\n\n  * Version {}: changelog.gz says what is new.\n\n -- {}  {}\n",
        project.version,
        project.maintainer,
        project.date()?
    );
    fs::write(dir.join("changelog.Debian"), changes)?;
    fs::copy(content.file("CHANGELOG.md"), dir.join("changelog"))?;
    fs::copy(content.file("LICENSES-linked.txt"), dir.join("LICENSES-linked.txt"))?;
    let mut gzip = Command::new("gzip");
    gzip.args(["--no-name", "--best", "changelog", "changelog.Debian", "LICENSES-linked.txt"]).current_dir(&dir);
    command::output(&mut gzip)?;
    for file in fs::read_dir(&dir)? {
        command::output(Command::new("chmod").arg("644").arg(file?.path()))?;
    }
    Ok(())
}

/// Debian's fields write an empty line as a dot.
fn or_dot(line: &str) -> &str {
    if line.is_empty() { "." } else { line }
}

/// The least minor version that the library fits.
fn least(major: u32) -> &'static str {
    if major == 15 { " (>= 15.1)" } else { "" }
}

/// What the library needs of the system, as fields say it: `libc6 (>= 2.34), libgcc-s1 (>= 4.2)`.
fn shared_libraries(place: &Place, content: &Content) -> Result<String> {
    // Reads this file to learn of which package it is asked.
    fs::create_dir_all(place.work.join("debian"))?;
    fs::write(place.work.join("debian/control"), "Source: cache-sync\n\nPackage: cache-sync\nArchitecture: any\n")?;
    let mut ask = place.program("dpkg-shlibdeps")?;
    let said = command::output(ask.arg("-O").arg(place.path(&content.library())))?;
    let needs = said.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    needs.map(str::to_owned).ok_or_else(|| Error::from(format!("dpkg-shlibdeps says nothing:\n{said}")))
}

fn control(name: &str, version: &str, architecture: &str, needs: &str, maintainer: &str) -> String {
    let description: String = DESCRIPTION.iter().map(|line| format!(" {line}\n")).collect();
    format!(
        "Package: {name}\nSource: cache-sync\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: {maintainer}\nSection: \
         database\nPriority: optional\nDepends: {needs}\nDescription: {SUMMARY}\n{description} .\n To have the feed from the start, \
         add cache_sync to\n shared_preload_libraries and restart the server.\n"
    )
}

/// Has Debian's own checker look at it.
fn lint(place: &Place, file: &Path) -> Result<String> {
    let mut version = place.program("lintian")?;
    let Ok(version) = command::output(version.arg("--version")) else {
        return Ok("left out: lintian, which is not here".to_owned());
    };
    let mut lintian = place.program("lintian")?;
    lintian.args(["--allow-root", "--fail-on", "error"]).arg(place.path(file));
    let said = command::output(&mut lintian)?;
    let warnings = said.lines().filter(|line| line.starts_with("W: ")).count();
    said.lines().for_each(|line| println!("  {line}"));
    let version = version.split_whitespace().last().unwrap_or_default().to_owned();
    Ok(format!("lintian {version}: 0 errors, {warnings} warnings"))
}

/// Why there can be no package of Debian from this place, if there can be none.
pub(super) fn obstacle(place: &Place) -> Option<String> {
    let Kind::Machine(postgres, _) = &place.kind else { return None };
    let usual = PathBuf::from(format!("/usr/lib/postgresql/{}/lib", postgres.major));
    if postgres.lib != usual {
        return Some(format!(
            "this PostgreSQL keeps its libraries in {}, not as Debian's does",
            postgres.lib.display()
        ));
    }
    cache_sync_cluster::install_missing(&[("dpkg-shlibdeps", "dpkg-dev")]).err().map(|error| error.to_string())
}
