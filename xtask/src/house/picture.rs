//! The picture of a building: rooms as boxes on their floors, and what each needs of those below.
//!
//! It says nothing of lines or sizes, so it changes only when rooms or arrows do.

mod draw;
mod grid;
mod lanes;
mod order;

use super::building::Building;
use grid::Sketch;

/// Draws it as SVG.
pub(crate) fn svg(building: &Building) -> String {
    let mut sketch = Sketch::of(building);
    order::settle(&mut sketch);
    draw::svg(building, &sketch)
}

#[cfg(test)]
mod tests;
