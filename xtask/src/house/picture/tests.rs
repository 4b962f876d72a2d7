use super::super::building::survey;
use super::super::fixture::Fixture;
use super::*;

const ROOT: &str = "// floor 3: a  first\n// floor 2: b  second & <third>\n// floor 2: d  beside it\n// floor 1: c  last\n\
                    mod a; mod b; mod c; mod d;";
const A: &str = "use crate::b::B; use crate::c::C; use crate::d::D;";

fn drawn(root: &str, a: &str) -> String {
    let fixture = Fixture::new(&[
        ("k/src/lib.rs", root),
        ("k/src/a.rs", a),
        ("k/src/b.rs", "use crate::c::C;\npub struct B;"),
        ("k/src/c.rs", "pub struct C;"),
        ("k/src/d.rs", "pub struct D;"),
    ]);
    svg(&survey(fixture.root(), "k").unwrap())
}

#[test]
fn shows_rooms_words_and_arrows() {
    let picture = drawn(ROOT, A);
    for shown in ["4 rooms on 3 floors, 4 arrows", ">first<", ">second &amp; &lt;third&gt;<", ">d<"] {
        assert!(picture.contains(shown), "{shown} in {picture}");
    }
    // Only that from a to c is implied: one piece to the lane past b and d, one from there.
    assert_eq!(picture.matches("stroke=\"#b4c0cd\"").count(), 2);
    assert_eq!(picture.matches("stroke=\"#44709f\"").count(), 3);
    assert!(!picture.contains("stroke-dasharray"));
}

#[test]
fn changes_with_arrows_not_with_lines() {
    let picture = drawn(ROOT, A);
    assert_eq!(picture, drawn(ROOT, &format!("{A}\nfn f() {{}}\n")));
    assert_ne!(picture, drawn(ROOT, "use crate::b::B; use crate::c::C;"));
}

#[test]
fn marks_arrows_that_lead_upwards() {
    assert!(drawn(&ROOT.replace("floor 3: a", "floor 2: a"), A).contains("stroke-dasharray"));
}

#[test]
fn lanes_keep_clear_of_boxes() {
    let fixture = Fixture::new(&[
        ("k/src/lib.rs", ROOT),
        ("k/src/a.rs", A),
        ("k/src/b.rs", "use crate::c::C;\npub struct B;"),
        ("k/src/c.rs", "pub struct C;"),
        ("k/src/d.rs", "pub struct D;"),
    ]);
    let sketch = Sketch::of(&survey(fixture.root(), "k").unwrap());
    let middles = sketch.middles();
    let lanes = lanes::lay(&sketch, &middles);
    assert_eq!(lanes.len(), 1);
    for (&(row, _), column) in &lanes {
        for &room in &sketch.rows[row] {
            assert!((middles[room] - column).abs() > sketch.box_width / 2.0);
        }
    }
}
