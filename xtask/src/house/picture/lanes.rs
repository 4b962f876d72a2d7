//! How arrows get past the floors between: in lanes between the boxes, one for each room that they lead to.

use std::collections::BTreeMap;

use super::grid::{SIDE, Sketch};

/// Where the arrows to a room pass a row: its column, by row and room.
pub(crate) type Lanes = BTreeMap<(usize, usize), f64>;

/// Between two lanes.
const APART: f64 = 7.0;
/// Between a lane and a box.
const CLEAR: f64 = 8.0;

/// Puts each lane as near as can be to the straight way.
pub(crate) fn lay(sketch: &Sketch, middles: &[f64]) -> Lanes {
    let mut lanes = Lanes::new();
    for row in 0..sketch.rows.len() {
        let mut wanted: Vec<(f64, usize)> = passing(sketch, row)
            .into_iter()
            .map(|(target, sources)| (straight(sketch, middles, row, target, &sources), target))
            .collect();
        wanted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut spaces = Space::of_row(sketch, middles, row);
        for (column, target) in wanted {
            let nearest = spaces
                .iter_mut()
                .filter(|space| space.has_room())
                .min_by(|a, b| a.distance(column).total_cmp(&b.distance(column)));
            if let Some(space) = nearest {
                space.lanes.push((column, target));
            }
        }
        for space in spaces {
            lanes.extend(space.columns().into_iter().map(|(column, target)| ((row, target), column)));
        }
    }
    lanes
}

/// The rooms below `row` that are needed above it, each with who needs it.
fn passing(sketch: &Sketch, row: usize) -> BTreeMap<usize, Vec<usize>> {
    let mut passing: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &(from, to) in &sketch.arrows {
        if sketch.row_of[from] < row && row < sketch.row_of[to] {
            passing.entry(to).or_default().push(from);
        }
    }
    passing
}

/// Where the straight way from the sources' middle to the target crosses the row.
fn straight(sketch: &Sketch, middles: &[f64], row: usize, target: usize, sources: &[usize]) -> f64 {
    let count = sources.len() as f64;
    let from = sources.iter().map(|&source| middles[source]).sum::<f64>() / count;
    let above = sources.iter().map(|&source| (row - sketch.row_of[source]) as f64).sum::<f64>() / count;
    let below = (sketch.row_of[target] - row) as f64;
    from + (middles[target] - from) * above / (above + below)
}

/// Room between two boxes of a row, or beside all of them.
struct Space {
    left: f64,
    right: f64,
    lanes: Vec<(f64, usize)>,
}

impl Space {
    fn of_row(sketch: &Sketch, middles: &[f64], row: usize) -> Vec<Space> {
        let half = sketch.box_width / 2.0 + CLEAR;
        let mut left = SIDE / 2.0 + CLEAR;
        let mut spaces = Vec::new();
        for &room in &sketch.rows[row] {
            spaces.push(Space { left, right: middles[room] - half, lanes: Vec::new() });
            left = middles[room] + half;
        }
        spaces.push(Space { left, right: sketch.width - CLEAR, lanes: Vec::new() });
        spaces
    }

    fn has_room(&self) -> bool {
        self.lanes.len() as f64 * APART <= self.right - self.left
    }

    fn distance(&self, column: f64) -> f64 {
        (column - column.clamp(self.left, self.right)).abs()
    }

    /// Its lanes where they want to be, but apart and within the space.
    fn columns(&self) -> Vec<(f64, usize)> {
        let last = self.lanes.len();
        let mut columns: Vec<f64> = self.lanes.iter().map(|(column, _)| *column).collect();
        for at in 0..last {
            let least = if at == 0 { self.left } else { columns[at - 1] + APART };
            columns[at] = columns[at].max(least);
        }
        for at in (0..last).rev() {
            let most = if at + 1 == last { self.right } else { columns[at + 1] - APART };
            columns[at] = columns[at].min(most);
        }
        // A narrow space is shared evenly.
        if self.right - self.left < 40.0 {
            let middle = (self.left + self.right) / 2.0;
            for (at, column) in columns.iter_mut().enumerate() {
                *column = middle + APART * (at as f64 - (last as f64 - 1.0) / 2.0);
            }
        }
        columns.into_iter().zip(self.lanes.iter().map(|(_, target)| *target)).collect()
    }
}

/// A piece of an arrow: from one row to the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Piece {
    /// The upper row.
    pub(crate) row: usize,
    pub(crate) target: usize,
    pub(crate) from_x: f64,
    pub(crate) to_x: f64,
    /// The room that it starts from, if it does not go on from a lane.
    pub(crate) source: Option<usize>,
    /// It ends at the target.
    pub(crate) ends: bool,
}

/// The pieces of all arrows; what several have in common once.
pub(crate) fn pieces(sketch: &Sketch, middles: &[f64], lanes: &Lanes) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let column = |row: usize, target: usize| lanes.get(&(row, target)).copied().unwrap_or(middles[target]);
    for &(source, target) in &sketch.arrows {
        let (row, end) = (sketch.row_of[source], sketch.row_of[target]);
        pieces.push(Piece {
            row,
            target,
            from_x: middles[source],
            to_x: column(row + 1, target),
            source: Some(source),
            ends: row + 1 == end,
        });
    }
    for &(row, target) in lanes.keys() {
        let ends = row + 1 == sketch.row_of[target];
        pieces.push(Piece {
            row,
            target,
            from_x: column(row, target),
            to_x: column(row + 1, target),
            source: None,
            ends,
        });
    }
    pieces
}
