//! The drawing itself. It has a ground of its own, so that it can be read on light and on dark pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::super::building::Building;
use super::grid::{NAME_SIZE, SIDE, Sketch};
use super::lanes::{self, Piece};

const WORDS_SIZE: f64 = 11.0;
/// Of a letter, by its height.
const LETTER: f64 = 0.58;
const LINE: f64 = 13.5;
const ROOF: f64 = 84.0;
/// Between two floors.
const CHANNEL: f64 = 58.0;
/// Of a floor, above and below its boxes.
const PAD: f64 = 9.0;
const PORT: f64 = 13.0;

/// Where the floors are.
struct Heights {
    /// The upper edge of each row's boxes.
    tops: Vec<f64>,
    /// How high its boxes are.
    boxes: Vec<f64>,
    all: f64,
}

/// Draws roof, floors, arrows and boxes, in this order.
pub(crate) fn svg(building: &Building, sketch: &Sketch) -> String {
    let words: Vec<Vec<String>> =
        building.rooms.iter().map(|room| wrap(&room.words, sketch.box_width - 14.0)).collect();
    let heights = heights(sketch, &words);
    let (width, height) = (sketch.width, heights.all);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\" text-anchor=\"middle\">\n"
    );
    let _ = writeln!(out, "<rect width=\"{width}\" height=\"{height}\" rx=\"10\" fill=\"#f6f8fa\"/>");
    roof(&mut out, building, sketch);
    floors(&mut out, building, sketch, &heights);
    arrows(&mut out, building, sketch, &heights);
    for row in 0..sketch.rows.len() {
        boxes(&mut out, building, sketch, &heights, row, &words);
    }
    out.push_str("</svg>\n");
    out
}

/// A row is as high as its longest words ask for.
fn heights(sketch: &Sketch, words: &[Vec<String>]) -> Heights {
    let mut heights = Heights { tops: Vec::new(), boxes: Vec::new(), all: ROOF + PAD };
    for rooms in &sketch.rows {
        let lines = rooms.iter().map(|&room| words[room].len()).max().unwrap_or(0);
        let height = 30.0 + LINE * lines as f64 + if lines > 0 { 3.0 } else { 0.0 };
        heights.tops.push(heights.all);
        heights.boxes.push(height);
        heights.all += height + 2.0 * PAD + CHANNEL;
    }
    heights.all += PAD - CHANNEL;
    heights
}

fn roof(out: &mut String, building: &Building, sketch: &Sketch) {
    let (middle, eaves) = (sketch.width / 2.0, ROOF - 8.0);
    let (left, right) = (SIDE / 4.0, sketch.width - SIDE / 4.0);
    let _ = writeln!(
        out,
        "<path d=\"M{left} {eaves} L{middle} 8 L{right} {eaves} Z\" fill=\"#dfe5ec\" stroke=\"#dfe5ec\" \
         stroke-width=\"4\" stroke-linejoin=\"round\"/>"
    );
    text(out, (middle, 46.0), 18.0, "bold", "#1f2328", &building.name);
    let (rooms, floors) = (building.rooms.len(), sketch.rows.len());
    let what = format!("{rooms} rooms on {floors} floors, {} arrows", building.graph.arrows().count());
    text(out, (middle, 64.0), WORDS_SIZE, "normal", "#57606a", &what);
}

fn floors(out: &mut String, building: &Building, sketch: &Sketch, heights: &Heights) {
    for (row, (floor, _)) in building.floors().iter().enumerate() {
        let (left, top) = (SIDE / 4.0, heights.tops[row] - PAD);
        let (width, height) = (sketch.width - SIDE / 2.0, heights.boxes[row] + 2.0 * PAD);
        let _ = writeln!(
            out,
            "<rect x=\"{left}\" y=\"{top:.1}\" width=\"{width}\" height=\"{height:.1}\" rx=\"6\" fill=\"#e9edf2\"/>"
        );
        let place = (left + 12.0, top + height / 2.0 + 4.0);
        text(out, place, WORDS_SIZE, "normal", "#8c959f", &floor.to_string());
    }
}

/// The fainter ones lie below the others.
fn arrows(out: &mut String, building: &Building, sketch: &Sketch, heights: &Heights) {
    let middles = sketch.middles();
    let lanes = lanes::lay(sketch, &middles);
    let mut pieces = lanes::pieces(sketch, &middles, &lanes);
    spread_starts(&mut pieces, sketch.box_width);
    let implied = building.graph.implied();
    let plain = |source: usize, target: usize| !implied.contains(&(source, target));
    // A lane is plain from where a plain arrow joins it.
    let is_plain = |piece: &Piece| match piece.source {
        Some(source) => plain(source, piece.target),
        None => sketch.arrows.iter().any(|&(source, target)| {
            target == piece.target && sketch.row_of[source] < piece.row && plain(source, target)
        }),
    };
    let mut drawn: Vec<(bool, String)> = pieces.iter().map(|p| (is_plain(p), line(p, heights, is_plain(p)))).collect();
    drawn.sort_by_key(|(is_plain, _)| *is_plain);
    drawn.iter().for_each(|(_, line)| out.push_str(line));
    let needed: BTreeSet<usize> = sketch.arrows.iter().map(|(_, target)| *target).collect();
    for target in needed {
        let (x, y) = (middles[target], heights.tops[sketch.row_of[target]]);
        let arrives = pieces.iter().any(|piece| piece.ends && piece.target == target && is_plain(piece));
        head(out, x, y, if arrives { PLAIN.0 } else { FAINT.0 });
    }
    upwards(out, building, sketch, heights, &middles);
}

const PLAIN: (&str, f64) = ("#44709f", 1.5);
const FAINT: (&str, f64) = ("#b4c0cd", 1.1);
const WRONG: &str = "#cf222e";

/// What starts at one box starts side by side.
fn spread_starts(pieces: &mut [Piece], box_width: f64) {
    let mut starts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, piece) in pieces.iter().enumerate() {
        if let Some(source) = piece.source {
            starts.entry(source).or_default().push(at);
        }
    }
    for mut of_source in starts.into_values() {
        of_source.sort_by(|&a, &b| pieces[a].to_x.total_cmp(&pieces[b].to_x));
        let last = of_source.len() as f64 - 1.0;
        let step = PORT.min((box_width - 24.0) / last.max(1.0));
        for (place, at) in of_source.into_iter().enumerate() {
            pieces[at].from_x += step * (place as f64 - last / 2.0);
        }
    }
}

/// Down through the floor if it comes from a lane, then to the next floor.
fn line(piece: &Piece, heights: &Heights, is_plain: bool) -> String {
    let (colour, width) = if is_plain { PLAIN } else { FAINT };
    let (x1, x2) = (piece.from_x, piece.to_x);
    let bottom = heights.tops[piece.row] + heights.boxes[piece.row];
    let top = heights.tops[piece.row + 1] - if piece.ends { 5.0 } else { 0.0 };
    let start = if piece.source.is_some() { bottom } else { heights.tops[piece.row] };
    let bend = (top - bottom) * 0.55;
    format!(
        "<path d=\"M{x1:.1} {start:.1} V{bottom:.1} C{x1:.1} {:.1} {x2:.1} {:.1} {x2:.1} {top:.1}\" fill=\"none\" \
         stroke=\"{colour}\" stroke-width=\"{width}\"/>\n",
        bottom + bend,
        top - bend,
    )
}

fn head(out: &mut String, x: f64, y: f64, colour: &str) {
    let _ = writeln!(
        out,
        "<path d=\"M{x:.1} {y:.1} L{:.1} {:.1} L{:.1} {:.1} Z\" fill=\"{colour}\"/>",
        x - 4.5,
        y - 8.0,
        x + 4.5,
        y - 8.0
    );
}

/// What goes against the plan, from below.
fn upwards(out: &mut String, building: &Building, sketch: &Sketch, heights: &Heights, middles: &[f64]) {
    for &(from, to) in &building.upwards {
        let bottom = |room: usize| heights.tops[sketch.row_of[room]] + heights.boxes[sketch.row_of[room]];
        let (x1, y1, x2, y2) = (middles[from] + 20.0, bottom(from), middles[to] - 20.0, bottom(to));
        let deep = y1.max(y2) + CHANNEL * 0.7;
        let _ = writeln!(
            out,
            "<path d=\"M{x1:.1} {y1:.1} C{x1:.1} {deep:.1} {x2:.1} {deep:.1} {x2:.1} {:.1}\" fill=\"none\" \
             stroke=\"{WRONG}\" stroke-width=\"1.5\" stroke-dasharray=\"5 3\"/>\
             <path d=\"M{x2:.1} {y2:.1} l-4.5 8 h9 Z\" fill=\"{WRONG}\"/>",
            y2 + 6.0
        );
    }
}

fn boxes(out: &mut String, building: &Building, sketch: &Sketch, heights: &Heights, row: usize, words: &[Vec<String>]) {
    let middles = sketch.middles();
    let (top, height, width) = (heights.tops[row], heights.boxes[row], sketch.box_width);
    for &room in &sketch.rows[row] {
        let middle = middles[room];
        let _ = writeln!(
            out,
            "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{width}\" height=\"{height:.1}\" rx=\"5\" fill=\"#ffffff\" \
             stroke=\"#8c959f\"/>",
            middle - width / 2.0
        );
        let lines = &words[room];
        // In the middle of the box, whatever its neighbours have to say.
        let first = top + (height - LINE * lines.len() as f64) / 2.0 + if lines.is_empty() { 5.0 } else { 2.0 };
        text(out, (middle, first), NAME_SIZE, "bold", "#1f2328", &building.rooms[room].name);
        for (at, line) in lines.iter().enumerate() {
            let y = first + 2.0 + LINE * (at + 1) as f64;
            text(out, (middle, y), WORDS_SIZE, "normal", "#57606a", line);
        }
    }
}

fn text(out: &mut String, (x, y): (f64, f64), size: f64, weight: &str, colour: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" font-weight=\"{weight}\" fill=\"{colour}\">{text}</text>"
    );
}

/// Words in lines that fit; all of them.
pub(crate) fn wrap(words: &str, width: f64) -> Vec<String> {
    let letters_max = (width / (WORDS_SIZE * LETTER)) as usize;
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        let word = word.replace('`', "");
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= letters_max => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}
