//! The checks of the house: its plans, its sizes, its repeats and its walks, and the pictures of it.
//!
//! A *room* is a module at the top of a crate, with all that lies in its folder. A crate's plan, in its root file, puts each room on a
//! floor; a room imports only from rooms on lower floors.

mod arrows;
mod attributes;
mod building;
mod calls;
mod crates;
#[cfg(test)]
mod fixture;
mod functions;
mod graph;
mod mention;
mod names;
mod options;
mod picture;
mod plan;
mod repeats;
mod report;
mod resolve;
mod revision;
mod sizes;
mod sources;
mod tokens;
mod walk;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use cache_sync_cluster::workspace_root;
use cache_sync_kit::{Result, write_json};

use building::{Building, survey};
use options::Options;
use revision::Unpacked;

/// The crates whose sizes and repeats are checked.
const CHECKED: [&str; 14] = [
    "bench", "cluster", "core", "demo", "examples", "fit", "kit", "peers", "pg_ext", "sdk", "testkit", "tests",
    "torture", "xtask",
];

/// Where the pictures lie.
const PICTURES: &str = "docs/house";

/// Prints what the crates look like; writes data and pictures where that is asked for.
///
/// # Errors
/// The options are wrong, or a file cannot be read or written.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let options = Options::parse(args)?;
    let root = workspace_root();
    let buildings = match &options.revision {
        Some(revision) => {
            let unpacked = Unpacked::new(revision)?;
            survey_all(unpacked.dir(), &options)?
        }
        None => survey_all(&root, &options)?,
    };
    buildings.iter().for_each(report::print);
    if let Some(file) = &options.json_file {
        write_json(file, &report::to_json(&buildings))?;
    }
    if options.write {
        draw(&buildings, &root.join(PICTURES))?;
    }
    if let Some(dir) = &options.svg_dir {
        draw(&buildings, dir)?;
    }
    if options.revision.is_some() {
        return Ok(ExitCode::SUCCESS);
    }
    let findings = text_findings(&root, options.of_crate.as_deref())?;
    println!("\nsizes, repeats, walks: {} findings", findings.len());
    findings.iter().for_each(|finding| println!("  ! {finding}"));
    let is_sound = findings.is_empty() && buildings.iter().all(|building| building.findings.is_empty());
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is too long or stands twice in this crate, else in all, and the walks that do not go.
fn text_findings(root: &Path, of_crate: Option<&str>) -> Result<Vec<String>> {
    let crates: Vec<String> = match of_crate {
        Some(name) => vec![name.to_owned()],
        None => CHECKED.map(str::to_owned).to_vec(),
    };
    let mut findings = Vec::new();
    for name in &crates {
        findings.extend(sizes::check(root, name)?);
    }
    findings.extend(repeats::check(root, &crates)?);
    findings.extend(walk::check(root)?);
    findings.extend(walk::lacking(root)?);
    Ok(findings)
}

/// The crate that was named; else those with a plan or, of another revision, all.
fn survey_all(root: &Path, options: &Options) -> Result<Vec<Building>> {
    let mut names = crates::names(root)?;
    match &options.of_crate {
        Some(name) => names = vec![name.clone()],
        None => names.retain(|name| options.revision.is_some() || building::has_plan(root, name)),
    }
    names.iter().map(|name| survey(root, name)).collect()
}

fn draw(buildings: &[Building], dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    for building in buildings {
        let file = dir.join(format!("{}.svg", building.name));
        fs::write(&file, picture::svg(building))?;
        println!("{}", file.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_plans() -> Vec<Building> {
        survey_all(&workspace_root(), &Options::default()).unwrap()
    }

    #[test]
    fn every_crate_with_a_plan_keeps_to_it() {
        let buildings = with_plans();
        let names: Vec<&str> = buildings.iter().map(|building| building.name.as_str()).collect();
        assert_eq!(names, ["core", "pg_ext", "sdk"]);
        let findings: Vec<&String> = buildings.iter().flat_map(|building| &building.findings).collect();
        assert!(findings.is_empty(), "{findings:#?}");
    }

    #[test]
    fn the_pictures_are_of_the_code_as_it_is() {
        for building in with_plans() {
            let file = workspace_root().join(PICTURES).join(format!("{}.svg", building.name));
            let drawn = fs::read_to_string(&file).unwrap_or_default();
            assert!(drawn == picture::svg(&building), "run `cargo xtask house --write`: {}", building.name);
        }
    }

    #[test]
    fn nothing_is_too_long_or_stands_twice_and_every_walk_goes() {
        let findings = text_findings(&workspace_root(), None).unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    }
}
