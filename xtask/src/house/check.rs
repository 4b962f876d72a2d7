//! The code against the plan.

use std::collections::{BTreeMap, BTreeSet};

use cache_sync_kit::Result;

use super::arrows::{self, Arrow};
use super::plan::Plan;
use super::source::Source;

/// What is not as the plan says: rooms that it lacks or that are not there, arrows that do not point down, circles between the files
/// of a room.
pub(super) fn findings(source: &Source) -> Result<Vec<String>> {
    let plan = Plan::of(source)?;
    let arrows = arrows::of(source);
    let mut findings = rooms(source, &plan);
    findings.extend(arrows.iter().filter_map(|arrow| upwards(arrow, &plan)));
    findings.extend(circles(&arrows).into_iter().map(|files| format!("a circle: {}", files.join(", "))));
    Ok(findings)
}

fn rooms(source: &Source, plan: &Plan) -> Vec<String> {
    let there: BTreeSet<&str> = source.files.keys().filter_map(|module| module.first()).map(String::as_str).collect();
    let planned: Vec<&str> = plan.rooms.iter().map(|room| room.name.as_str()).collect();
    let is_once = |room: &&str| planned.iter().filter(|name| *name == room).count() == 1;
    let unplanned = there.iter().filter(|room| !is_once(room));
    let missing = planned.iter().filter(|room| !there.contains(*room));
    unplanned
        .map(|room| format!("the room {room} does not stand in the plan once"))
        .chain(missing.map(|room| format!("the plan has a room {room} that is not there")))
        .collect()
}

fn upwards(arrow: &Arrow, plan: &Plan) -> Option<String> {
    let (from, to) = arrow.rooms();
    // What is not in the plan is told by itself.
    let is_down = from == to || plan.floor(from)? > plan.floor(to).unwrap_or(usize::MAX);
    (!is_down).then(|| format!("{} ({from} does not stand above {to})", arrow.place))
}

/// The files that import each other in a circle, each circle once.
pub(super) fn circles(arrows: &[Arrow]) -> Vec<Vec<String>> {
    let mut reached: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for arrow in arrows {
        reached.entry(&arrow.from).or_default().insert(&arrow.to);
    }
    loop {
        let mut grown = false;
        for file in reached.keys().copied().collect::<Vec<_>>() {
            let direct: Vec<&[String]> = reached[file].iter().copied().collect();
            let further: BTreeSet<&[String]> =
                direct.iter().filter_map(|to| reached.get(to)).flatten().copied().collect();
            let of_file = reached.entry(file).or_default();
            let before = of_file.len();
            of_file.extend(further);
            grown |= of_file.len() > before;
        }
        if !grown {
            break;
        }
    }
    let is_mutual = |one: &[String], other: &[String]| {
        reached.get(one).is_some_and(|of| of.contains(other)) && reached.get(other).is_some_and(|of| of.contains(one))
    };
    let in_circle: Vec<&[String]> = reached.keys().copied().filter(|file| is_mutual(file, file)).collect();
    let mut circles: BTreeSet<Vec<String>> = BTreeSet::new();
    for file in &in_circle {
        let members = in_circle.iter().filter(|other| is_mutual(file, other));
        circles.insert(members.map(|member| member.join("/")).collect());
    }
    circles.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::source::File;

    /// A crate of these files, by their modules' paths.
    fn source(files: &[(&str, &str)]) -> Source {
        let mut source = Source { name: "a".to_owned(), lib: files[0].1.to_owned(), files: BTreeMap::new() };
        for (module, text) in files {
            let module: Vec<String> = module.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
            let path = format!("a/src/{}.rs", module.join("/"));
            source.files.insert(module, File::parse(&path, text).unwrap());
        }
        source
    }

    const LIB: &str = "// floor 2: top  above\n// floor 1: low  below\nmod top;\nmod low;\n";

    #[test]
    fn an_arrow_that_points_down_is_right() {
        let source = source(&[("", LIB), ("top", "use crate::low::Low;"), ("low", "pub struct Low;")]);
        assert_eq!(findings(&source).unwrap(), [""; 0]);
    }

    #[test]
    fn an_arrow_that_runs_upwards_is_told_with_its_place() {
        for low in ["\nuse crate::top::Top;", "\nfn f() -> crate::top::Top { f() }", "\nuse super::top::{self};"] {
            let source = source(&[("", LIB), ("top", "pub struct Top;"), ("low", low)]);
            let found = findings(&source).unwrap();
            assert!(
                found[0].starts_with("a/src/low.rs:2: ") && found[0].ends_with("(low does not stand above top)"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_a_macro_is_given_counts_too() {
        let source = source(&[("", LIB), ("top", ""), ("low", "m! { fn f() { crate::top::run(1) } }")]);
        assert_eq!(findings(&source).unwrap().len(), 1);
    }

    #[test]
    fn what_a_face_hands_on_leads_to_who_defines_it() {
        let files = [
            ("", "// floor 2: top  above\n// floor 1: low  below\nmod top;\nmod low;\n"),
            ("top", "use crate::low::Deep;"),
            ("low", "mod deep;\npub use deep::Deep;"),
            ("low/deep", "pub struct Deep;"),
        ];
        let source = source(&files);
        let arrows = arrows::of(&source);
        assert_eq!(arrows.len(), 1, "the face itself takes nothing");
        assert_eq!(arrows[0].to, ["low", "deep"]);
    }

    #[test]
    fn rooms_that_the_plan_lacks_or_invents_are_told() {
        let source = source(&[
            ("", "// floor 1: low  below\n// floor 1: attic  gone\nmod low;\nmod top;"),
            ("low", ""),
            ("top", ""),
        ]);
        let found = findings(&source).unwrap();
        assert_eq!(
            found,
            ["the room top does not stand in the plan once", "the plan has a room attic that is not there"]
        );
    }

    #[test]
    fn files_of_a_room_that_import_each_other_are_a_circle() {
        let files = [
            ("", "// floor 1: low  below\nmod low;"),
            ("low", "mod one;\nuse one::One;\npub struct Low(One);"),
            ("low/one", "use super::Low;\npub struct One;"),
        ];
        assert_eq!(findings(&source(&files)).unwrap(), ["a circle: low, low/one"]);
    }

    #[test]
    fn tests_may_import_what_they_like() {
        let source = source(&[("", LIB), ("top", ""), ("low", "#[cfg(test)]\nmod tests { use crate::top::Top; }")]);
        assert_eq!(findings(&source).unwrap(), [""; 0]);
    }
}
