//! Where boxes stand: on a grid with columns of one width, each floor in the middle.

use super::super::building::Building;

pub(crate) const WIDTH_MIN: f64 = 900.0;
/// Left and right of the boxes: the floors' numbers, and lanes that go round all boxes.
pub(crate) const SIDE: f64 = 52.0;
pub(crate) const NAME_SIZE: f64 = 14.0;
/// Of a letter, by its height.
pub(crate) const BOLD_LETTER: f64 = 0.6;

/// Between two boxes: room for the lanes of arrows that pass.
const GAP: f64 = 30.0;
const BOX_MAX: f64 = 186.0;

/// Rooms in rows, and the arrows that lead downwards.
pub(crate) struct Sketch {
    pub(crate) width: f64,
    pub(crate) box_width: f64,
    /// From the top floor down, each from left to right.
    pub(crate) rows: Vec<Vec<usize>>,
    pub(crate) row_of: Vec<usize>,
    pub(crate) arrows: Vec<(usize, usize)>,
}

impl Sketch {
    pub(crate) fn of(building: &Building) -> Sketch {
        let rows: Vec<Vec<usize>> = building.floors().into_iter().map(|(_, rooms)| rooms).collect();
        let mut row_of = vec![0; building.rooms.len()];
        for (row, rooms) in rows.iter().enumerate() {
            rooms.iter().for_each(|&room| row_of[room] = row);
        }
        let most = rows.iter().map(Vec::len).max().unwrap_or(1) as f64;
        let longest = building.rooms.iter().map(|room| room.name.chars().count()).max().unwrap_or(0) as f64;
        let gaps = GAP * (most - 1.0);
        let fitting = (WIDTH_MIN - 2.0 * SIDE - gaps) / most;
        let box_width = fitting.min(BOX_MAX).max(longest * NAME_SIZE * BOLD_LETTER + 16.0).round();
        let width = WIDTH_MIN.max(2.0 * SIDE + gaps + most * box_width);
        let arrows = building.graph.arrows().filter(|arrow| !building.upwards.contains(arrow)).collect();
        Sketch { width, box_width, rows, row_of, arrows }
    }

    /// The middles of all boxes.
    pub(crate) fn middles(&self) -> Vec<f64> {
        let mut middles = vec![0.0; self.row_of.len()];
        for rooms in &self.rows {
            let first = self.width / 2.0 - self.step() * (rooms.len() as f64 - 1.0) / 2.0;
            for (place, &room) in rooms.iter().enumerate() {
                middles[room] = first + self.step() * place as f64;
            }
        }
        middles
    }

    /// From the middle of a box to that of the next.
    pub(crate) fn step(&self) -> f64 {
        self.box_width + GAP
    }
}
