//! The house that the code is: which crate has which rooms on which floors, and whether the code keeps to it.
//!
//! ```text
//! source   a crate's files, with what they declare and name       names    where a name leads, through what faces hand on
//! plan     the plan in a crate's `lib.rs`                          arrows   who imports whom
//! check    the code against the plan                              draw     the plan and its arrows, as SVG
//! sizes    functions and files that are too long                  repeats  lines that stand twice
//! walks    the walks in docs/design.md against the code           calls    what a function calls
//! report   what is printed                                        revision another state of the repository
//! ```
//! A *room* is a module at the top of a crate, with all that lies in its folder. A room imports only rooms on floors below its own.

mod arrows;
mod calls;
mod check;
mod draw;
mod names;
mod plan;
mod repeats;
mod report;
mod revision;
mod sizes;
mod source;
mod walks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cache_sync_cluster::workspace_root;
use cache_sync_kit::{Error, Result};

use source::Source;

/// The crates whose rooms have a plan, by the folder that they lie in.
const PLANNED: [&str; 3] = ["sdk", "pg_ext", "core"];
/// The walks that the design lists.
const WALKS: [&str; 3] = ["read", "write", "change"];
/// Where the pictures lie.
const PICTURES: &str = "docs/house";

/// What is to be done.
#[derive(Default)]
struct Options {
    write: bool,
    at: Option<String>,
    json: Option<PathBuf>,
}

/// Prints the rooms of each crate with a plan; draws them with `--write`.
///
/// # Errors
/// The options are wrong, or the code cannot be read.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let options = options(args)?;
    let root = match &options.at {
        Some(revision) => revision::unpacked(revision)?,
        None => workspace_root(),
    };
    let mut houses = Vec::new();
    for name in PLANNED {
        let source = Source::read(&root, name)?;
        houses.push(report::House::of(&source)?);
    }
    for house in &houses {
        house.print();
    }
    if options.write {
        for name in PLANNED {
            let file = root.join(PICTURES).join(format!("{name}.svg"));
            std::fs::create_dir_all(root.join(PICTURES))?;
            std::fs::write(&file, picture(&root, name)?)?;
            println!("{}", file.display());
        }
    }
    if let Some(file) = options.json {
        let list: Vec<_> = houses.iter().map(report::House::json).collect();
        std::fs::write(file, format!("{:#}\n", serde_json::Value::from(list)))?;
    }
    let mut is_whole = houses.iter().all(report::House::is_whole);
    if options.at.is_none() {
        let findings = [sizes::findings(&root)?, repeats::findings(&root)?, walked(&root)?].concat();
        findings.iter().for_each(|finding| println!("{finding}"));
        is_whole &= findings.is_empty();
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What of the walks in the design is not so.
fn walked(root: &Path) -> Result<Vec<String>> {
    let design = std::fs::read_to_string(root.join("docs/design.md"))?;
    let walks = walks::read(&design);
    let mut findings = Vec::new();
    for name in WALKS {
        match walks.iter().find(|walk| walk.name == name) {
            Some(walk) => findings.extend(walks::findings(root, walk)?),
            None => findings.push(format!("docs/design.md lacks the walk `{name}`")),
        }
    }
    Ok(findings)
}

fn options(args: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(option) = args.next() {
        let mut value = || args.next().cloned().ok_or_else(|| Error::from(format!("{option} wants a value")));
        match option.as_str() {
            "--write" => options.write = true,
            "--at" => options.at = Some(value()?),
            "--json" => options.json = Some(value()?.into()),
            _ => return Err(Error::from(format!("house knows --write, --at REVISION and --json FILE, not {option}"))),
        }
    }
    if options.write && options.at.is_some() {
        return Err(Error::from("--write draws the working tree, not another revision"));
    }
    Ok(options)
}

/// The picture of one crate.
fn picture(root: &Path, name: &str) -> Result<String> {
    let source = Source::read(root, name)?;
    let plan = plan::Plan::of(&source)?;
    Ok(draw::svg(name, &plan, &arrows::between_rooms(&arrows::of(&source))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arrow_points_down_and_every_room_stands_in_the_plan() {
        for name in PLANNED {
            let source = Source::read(&workspace_root(), name).unwrap();
            let findings = check::findings(&source).unwrap();
            assert!(findings.is_empty(), "{name}:\n{}", findings.join("\n"));
        }
    }

    #[test]
    fn the_pictures_are_of_the_code_as_it_is() {
        for name in PLANNED {
            let file = workspace_root().join(PICTURES).join(format!("{name}.svg"));
            let drawn = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(drawn == picture(&workspace_root(), name).unwrap(), "run `cargo xtask house --write`: {name}");
        }
    }

    #[test]
    fn no_function_and_no_file_is_too_long() {
        let findings = sizes::findings(&workspace_root()).unwrap();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    #[test]
    fn nothing_stands_twice() {
        let findings = repeats::findings(&workspace_root()).unwrap();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    #[test]
    fn the_walks_of_the_design_are_those_of_the_code() {
        let findings = walked(&workspace_root()).unwrap();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
