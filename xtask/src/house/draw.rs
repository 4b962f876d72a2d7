//! The plan and its arrows, as SVG: rooms as boxes on their floors, arrows to the rooms that they import.
//!
//! It depends on rooms, words and arrows only, so it changes when the house does, not with every line. An arrow that a chain of others
//! implies is fainter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::plan::{Plan, Room};

type Arrows = BTreeMap<String, BTreeSet<String>>;

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 24.0;
const GAP: f64 = 20.0;
const BOX_HEIGHT: f64 = 58.0;
const FLOOR_HEIGHT: f64 = 108.0;
const TOP: f64 = 62.0;
const NAME_SIZE: f64 = 15.0;
const WORDS_SIZE: f64 = 11.0;
/// About how wide a letter is, in parts of its size.
const LETTER: f64 = 0.56;
const LINES_MAX: usize = 2;

/// Where a room's box is.
struct Place<'a> {
    room: &'a Room,
    left: f64,
    top: f64,
    width: f64,
}

impl Place<'_> {
    /// A point on the box's upper or lower edge, the `number`th of `count`.
    fn edge(&self, number: usize, count: usize, is_lower: bool) -> (f64, f64) {
        let x = self.left + self.width * (number + 1) as f64 / (count + 1) as f64;
        (x, if is_lower { self.top + BOX_HEIGHT } else { self.top })
    }

    fn middle(&self) -> f64 {
        self.left + self.width / 2.0
    }
}

/// The picture.
pub(super) fn svg(name: &str, plan: &Plan, arrows: &Arrows) -> String {
    let places = places(plan);
    let height = TOP + FLOOR_HEIGHT * plan.floors() as f64;
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"-apple-system, 'Segoe UI', 'Liberation Sans', Helvetica, Arial, sans-serif\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"10\" fill=\"#f6f8fa\"/>\n"
    );
    let count: usize = arrows.values().map(BTreeSet::len).sum();
    let title = format!("{name}: {} rooms on {} floors, {count} arrows, all of them down", places.len(), plan.floors());
    text(&mut out, (MARGIN, 36.0), NAME_SIZE + 2.0, "#1f2328", &title);
    lines(&mut out, &places, arrows);
    for place in &places {
        room(&mut out, place);
    }
    out.push_str("</svg>\n");
    out
}

/// Each floor's rooms side by side, as wide as the floor lets them be.
fn places(plan: &Plan) -> Vec<Place<'_>> {
    let floors = plan.floors();
    let mut places = Vec::new();
    for floor in (1..=floors).rev() {
        let rooms: Vec<&Room> = plan.rooms.iter().filter(|room| room.floor == floor).collect();
        let most = (WIDTH - 2.0 * MARGIN - GAP * (rooms.len().max(1) - 1) as f64) / rooms.len().max(1) as f64;
        let width = most.min(340.0);
        let whole = width * rooms.len() as f64 + GAP * (rooms.len().max(1) - 1) as f64;
        let top = TOP + FLOOR_HEIGHT * (floors - floor) as f64;
        let first = (WIDTH - whole) / 2.0;
        let at = |place: usize| first + (width + GAP) * place as f64;
        places.extend(rooms.into_iter().enumerate().map(|(place, room)| Place { room, left: at(place), top, width }));
    }
    places
}

/// Every arrow, the fainter ones first, so that they lie below.
fn lines(out: &mut String, places: &[Place<'_>], arrows: &Arrows) {
    let find = |name: &str| places.iter().find(|place| place.room.name == name);
    let mut drawn: Vec<(bool, String)> = Vec::new();
    for from in places {
        let mut to: Vec<&Place<'_>> =
            arrows.get(&from.room.name).into_iter().flatten().filter_map(|name| find(name)).collect();
        to.sort_by(|one, other| one.middle().total_cmp(&other.middle()).then(one.top.total_cmp(&other.top)));
        for (number, target) in to.iter().enumerate() {
            let mut users: Vec<&Place<'_>> = places
                .iter()
                .filter(|place| arrows.get(&place.room.name).is_some_and(|of| of.contains(&target.room.name)))
                .collect();
            users.sort_by(|one, other| one.middle().total_cmp(&other.middle()).then(one.top.total_cmp(&other.top)));
            let of_users = users.iter().position(|user| user.room.name == from.room.name).unwrap_or(0);
            let (start, end) = (from.edge(number, to.len(), true), target.edge(of_users, users.len(), false));
            let is_implied = is_implied(arrows, &from.room.name, &target.room.name);
            drawn.push((is_implied, line(start, end, is_implied)));
        }
    }
    drawn.sort_by_key(|(is_implied, _)| !is_implied);
    drawn.into_iter().for_each(|(_, line)| out.push_str(&line));
}

fn line((x1, y1): (f64, f64), (x2, y2): (f64, f64), is_implied: bool) -> String {
    let (colour, width) = if is_implied { ("#c9d1d9", 1.0) } else { ("#57606a", 1.6) };
    let bend = (y2 - y1) / 2.0;
    let (tip, wing) = (y2 - 1.0, 4.0);
    format!(
        "<path d=\"M{x1:.1} {y1:.1} C{x1:.1} {:.1} {x2:.1} {:.1} {x2:.1} {tip:.1}\" fill=\"none\" stroke=\"{colour}\" \
         stroke-width=\"{width}\"/><path d=\"M{:.1} {:.1} L{x2:.1} {tip:.1} L{:.1} {:.1} Z\" fill=\"{colour}\"/>\n",
        y1 + bend,
        y2 - bend,
        x2 - wing,
        tip - 7.0,
        x2 + wing,
        tip - 7.0,
    )
}

/// Whether there is a way from one room to another without the arrow between them.
fn is_implied(arrows: &Arrows, from: &str, to: &str) -> bool {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut next: Vec<&str> =
        arrows.get(from).into_iter().flatten().map(String::as_str).filter(|room| *room != to).collect();
    while let Some(room) = next.pop() {
        if room == to {
            return true;
        }
        if seen.insert(room) {
            next.extend(arrows.get(room).into_iter().flatten().map(String::as_str));
        }
    }
    false
}

fn room(out: &mut String, place: &Place<'_>) {
    let (left, top, width) = (place.left, place.top, place.width);
    let _ = writeln!(
        out,
        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BOX_HEIGHT}\" rx=\"6\" fill=\"#ffffff\" \
         stroke=\"#8c959f\"/>"
    );
    text(out, (left + 10.0, top + 19.0), NAME_SIZE, "#0550ae", &place.room.name);
    for (number, words) in wrapped(&place.room.words, width - 20.0).iter().enumerate() {
        let y = top + 35.0 + 14.0 * number as f64;
        text(out, (left + 10.0, y), WORDS_SIZE, "#57606a", words);
    }
}

fn text(out: &mut String, (x, y): (f64, f64), size: f64, colour: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\">{text}</text>");
}

/// Words in lines of this width; what is too long ends in dots.
fn wrapped(words: &str, width: f64) -> Vec<String> {
    let letters_max = (width / (WORDS_SIZE * LETTER)) as usize;
    let mut lines: Vec<String> = Vec::new();
    for word in words.split(' ') {
        match lines.last_mut().filter(|line| line.len() + 1 + word.len() <= letters_max) {
            Some(line) => *line = format!("{line} {word}"),
            None => lines.push(word.to_owned()),
        }
    }
    if lines.len() > LINES_MAX {
        lines.truncate(LINES_MAX);
        lines[LINES_MAX - 1].push_str(" ...");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrows(of: &[(&str, &[&str])]) -> Arrows {
        of.iter().map(|(from, to)| ((*from).to_owned(), to.iter().map(|to| (*to).to_owned()).collect())).collect()
    }

    #[test]
    fn an_arrow_beside_a_chain_is_implied() {
        let arrows = arrows(&[("a", &["b", "c"]), ("b", &["c"])]);
        assert!(is_implied(&arrows, "a", "c"));
        assert!(!is_implied(&arrows, "a", "b") && !is_implied(&arrows, "b", "c"));
    }

    #[test]
    fn words_fit_their_box() {
        let lines =
            wrapped("what users hold of one table: its rows by key and a lot more than that, which is too long", 150.0);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with(" ..."));
    }
}
