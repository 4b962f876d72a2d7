//! Which room stands where on its floor: so that arrows are short and cross little.

use super::grid::Sketch;
use super::lanes;

/// What a crossing costs, in lengths.
const CROSSING: f64 = 60.0;

/// Swaps rooms of a floor as long as that makes the picture simpler.
pub(crate) fn settle(sketch: &mut Sketch) {
    let mut best = cost(sketch);
    loop {
        let before = best;
        for row in 0..sketch.rows.len() {
            for left in 0..sketch.rows[row].len() {
                for right in left + 1..sketch.rows[row].len() {
                    sketch.rows[row].swap(left, right);
                    let now = cost(sketch);
                    if now < best {
                        best = now;
                    } else {
                        sketch.rows[row].swap(left, right);
                    }
                }
            }
        }
        if best >= before {
            return;
        }
    }
}

fn cost(sketch: &Sketch) -> f64 {
    let middles = sketch.middles();
    let pieces = lanes::pieces(sketch, &middles, &lanes::lay(sketch, &middles));
    let mut cost = 0.0;
    for (at, one) in pieces.iter().enumerate() {
        cost += (one.to_x - one.from_x).abs();
        let beside = pieces[at + 1..].iter().filter(|other| other.row == one.row);
        let crossed = beside.filter(|other| (one.from_x - other.from_x) * (one.to_x - other.to_x) < 0.0);
        cost += CROSSING * crossed.count() as f64;
    }
    // Sums of equal parts in another order differ by a hair.
    cost.round()
}
