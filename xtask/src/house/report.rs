//! What is printed of a house.

use std::collections::{BTreeMap, BTreeSet};

use cache_sync_kit::Result;
use serde_json::json;

use super::arrows::{self, between_rooms};
use super::check;
use super::plan::Plan;
use super::source::Source;

/// A crate, measured.
pub(super) struct House {
    name: String,
    /// Those of the plan; where there is none, as low as the imports let them be.
    floors: BTreeMap<String, usize>,
    arrows: BTreeMap<String, BTreeSet<String>>,
    circles: Vec<Vec<String>>,
    /// What is not as the plan says.
    findings: Vec<String>,
}

impl House {
    pub(super) fn of(source: &Source) -> Result<House> {
        let plan = Plan::of(source)?;
        let all = arrows::of(source);
        let arrows = between_rooms(&all);
        let has_plan = !plan.rooms.is_empty();
        let rooms = source.files.keys().filter_map(|module| module.first());
        let floors = match has_plan {
            true => plan.rooms.iter().map(|room| (room.name.clone(), room.floor)).collect(),
            false => lowest(rooms, &arrows),
        };
        let findings = if has_plan { check::findings(source)? } else { Vec::new() };
        Ok(House { name: source.name.clone(), floors, arrows, circles: check::circles(&all), findings })
    }

    /// Whether it is as its plan says.
    pub(super) fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }

    fn count(&self) -> usize {
        self.arrows.values().map(BTreeSet::len).sum()
    }

    fn upwards(&self) -> usize {
        let floor = |room: &String| self.floors.get(room).copied().unwrap_or(usize::MAX);
        let runs_up = |(from, to): (&String, &String)| floor(from) <= floor(to);
        self.arrows
            .iter()
            .flat_map(|(from, to)| to.iter().map(move |to| (from, to)))
            .filter(|arrow| runs_up(*arrow))
            .count()
    }

    pub(super) fn print(&self) {
        let floors = self.floors.values().max().copied().unwrap_or(0);
        let (rooms, arrows, upwards, circles) = (self.floors.len(), self.count(), self.upwards(), self.circles.len());
        println!(
            "\n{}: {rooms} rooms on {floors} floors, {arrows} arrows, {upwards} upwards, {circles} circles",
            self.name
        );
        for floor in (1..=floors).rev() {
            for (room, _) in self.floors.iter().filter(|(_, of)| **of == floor) {
                let to: Vec<_> = self.arrows.get(room).into_iter().flatten().map(String::as_str).collect();
                println!("  {floor:>2}  {room:<12} {}", to.join(" "));
            }
        }
        self.circles.iter().for_each(|files| println!("  a circle: {}", files.join(", ")));
        self.findings.iter().for_each(|finding| println!("  not as planned: {finding}"));
    }

    pub(super) fn json(&self) -> serde_json::Value {
        json!({"crate": self.name, "floors": self.floors, "arrows": self.arrows, "upwards": self.upwards(),
               "circles": self.circles, "findings": self.findings})
    }
}

/// Each room above all that it imports; rooms that import each other in a circle stand side by side.
fn lowest<'a>(
    rooms: impl Iterator<Item = &'a String>,
    arrows: &BTreeMap<String, BTreeSet<String>>,
) -> BTreeMap<String, usize> {
    let reaches = |from: &str, to: &str| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from];
        while let Some(room) = next.pop() {
            let further = arrows.get(room).into_iter().flatten().map(String::as_str);
            next.extend(further.filter(|room| seen.insert(*room)));
        }
        seen.contains(to)
    };
    let down: Vec<(&String, &String)> = arrows
        .iter()
        .flat_map(|(from, to)| to.iter().map(move |to| (from, to)))
        .filter(|(from, to)| !reaches(to, from))
        .collect();
    let mut floors: BTreeMap<String, usize> = rooms.map(|room| (room.clone(), 1)).collect();
    for _ in 0..floors.len() {
        let beside: Vec<(String, usize)> = floors
            .iter()
            .map(|(room, floor)| {
                let circle = floors.iter().filter(|(other, _)| reaches(room, other) && reaches(other, room));
                (room.clone(), circle.map(|(_, floor)| *floor).max().unwrap_or(0).max(*floor))
            })
            .collect();
        floors.extend(beside);
        for (from, to) in &down {
            let above = floors.get(*to).map_or(1, |floor| floor + 1);
            floors.entry((*from).clone()).and_modify(|floor| *floor = above.max(*floor));
        }
    }
    floors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_stand_above_what_they_import_and_beside_their_circle() {
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        let arrow = |from: &str, to: &[&str]| (from.to_owned(), to.iter().map(|to| (*to).to_owned()).collect());
        let arrows = BTreeMap::from([arrow("a", &["b"]), arrow("b", &["c", "d"]), arrow("c", &["b"])]);
        let floors = lowest(names.iter(), &arrows);
        assert_eq!(floors.into_values().collect::<Vec<_>>(), [3, 2, 2, 1]);
    }
}
