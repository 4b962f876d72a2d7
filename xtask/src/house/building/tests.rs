use super::super::fixture::Fixture;
use super::*;

const PLAN: &str = "// floor 2: top    what is called\n// floor 1: base   what it needs\nmod base;\nmod top;\n";

fn findings(files: &[(&str, &str)]) -> Vec<String> {
    let fixture = Fixture::new(files);
    survey(fixture.root(), "k").unwrap().findings
}

#[test]
fn arrows_downwards_are_sound() {
    let top = "use crate::base::{self, Base};\n#[cfg(test)]\nmod tests { use super::*; }\n";
    let base = "mod of; pub use of::Base;\n#[cfg(test)]\nmod tests { use crate::top::Top; }\n";
    let of = "pub struct Base(pub(in crate::base) u8);\n";
    let files = [("k/src/lib.rs", PLAN), ("k/src/top.rs", top), ("k/src/base.rs", base), ("k/src/base/of.rs", of)];
    assert!(findings(&files).is_empty());
}

#[test]
fn an_arrow_upwards() {
    for base in [
        "use crate::top::Top;",
        "pub use crate::{top::{Top as Other}};",
        "fn f() { g(crate::top::Top::new()); }",
        "fn f() { vec![super::top::Top] }",
        "macro_rules! m { ($a:ident) => { $crate::top::Top::$a }; }",
        "m! { fn f { $crate::top::Top } }",
        "#[serde(with = \"crate::top::Top\")] struct A;",
        "mod inner { use super::super::top::Top; }",
        "use crate::Top;",
    ] {
        let root = format!("{PLAN}pub use top::Top;\n");
        let found = findings(&[("k/src/lib.rs", &root), ("k/src/top.rs", "pub struct Top;"), ("k/src/base.rs", base)]);
        assert_eq!(found.len(), 1, "{base}: {found:#?}");
        let expected = "k/src/base.rs:1: base (floor 1) imports ";
        assert!(found[0].starts_with(expected) && found[0].ends_with(" of top (floor 2)"), "{base}: {found:?}");
    }
}

#[test]
fn a_name_belongs_to_the_room_that_defines_it() {
    let plan = "// floor 3: user  who needs it\n// floor 2: hands  hands it on\n// floor 3: makes  defines it\n";
    let root = format!("{plan}mod user; mod hands; mod makes;");
    let found = findings(&[
        ("k/src/lib.rs", &root),
        ("k/src/user.rs", "use crate::hands::Thing;"),
        ("k/src/hands.rs", "mod inner; pub use inner::Thing;"),
        ("k/src/hands/inner.rs", "pub use crate::makes::Made as Thing;"),
        ("k/src/makes.rs", "pub struct Made;"),
    ]);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("k/src/lib.rs:3: floor 3 stands below a lower one"));
    assert!(found[1].starts_with("k/src/user.rs:1: user (floor 3) imports crate::hands::Thing of makes (floor 3)"));
    assert!(found[2].starts_with("k/src/hands/inner.rs:1: hands (floor 2) imports crate::makes::Made of makes"));
}

#[test]
fn what_the_root_defines_is_not_to_be_imported() {
    let root = format!("{PLAN}pub const N: u8 = 1;\n");
    let found = findings(&[("k/src/lib.rs", &root), ("k/src/top.rs", "use crate::N;"), ("k/src/base.rs", "")]);
    assert_eq!(found, ["k/src/top.rs:1: top imports crate::N of k/src/lib.rs, which stands above all"]);
}

#[test]
fn a_room_that_the_plan_lacks_and_one_that_is_not_there() {
    let root = PLAN.replace("floor 1: base", "floor 1: cellar");
    let found = findings(&[("k/src/lib.rs", &root), ("k/src/top.rs", ""), ("k/src/base.rs", "")]);
    assert_eq!(found, ["k/src/lib.rs:2: there is no room cellar", "k/src/lib.rs:1: the plan lacks the room base"]);
}

#[test]
fn a_path_that_leads_nowhere_is_told_of() {
    let found = findings(&[("k/src/lib.rs", PLAN), ("k/src/top.rs", "use crate::base::Gone;"), ("k/src/base.rs", "")]);
    assert_eq!(found, ["k/src/top.rs:1: crate::base::Gone is not to be found in k/src/base.rs"]);
}

/// `face` is the room's own file; its child needs a constant of it.
fn with_face(face: &str) -> Vec<String> {
    let face = format!("mod child;\npub const N: u8 = 1;\n{face}");
    let child = "use super::N;\npub fn child() -> u8 { N }\n";
    findings(&[("k/src/lib.rs", PLAN), ("k/src/top.rs", ""), ("k/src/base.rs", &face), ("k/src/base/child.rs", child)])
}

#[test]
fn a_circle_within_a_room() {
    let expected = "a circle within base: k/src/base.rs:3 imports child::child, k/src/base/child.rs:1 imports super::N";
    assert_eq!(with_face("use child::child;\nfn f() { child(); }\n"), [expected]);
    assert_eq!(with_face("fn f() { child::child(); }\n"), [expected]);
    let through_face = with_face("pub use child::child;\nfn f() { let child = child(); }\n");
    assert!(
        through_face.len() == 1 && through_face[0].starts_with("a circle within base: k/src/base.rs:4"),
        "{through_face:#?}"
    );
}

#[test]
fn handing_on_is_no_arrow() {
    assert!(with_face("pub use child::child;\nfn f(child: u8) -> u8 { child }\n").is_empty());
}
