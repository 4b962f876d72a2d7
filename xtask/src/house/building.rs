//! A crate as a building: rooms on floors, the arrows between them, and what goes against the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cache_sync_kit::Result;

use super::arrows::{self, Arrow};
use super::crates::{self, Crate};
use super::graph::Graph;
use super::plan;

/// A top-level module.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) name: String,
    /// What the plan says it is for.
    pub(crate) words: String,
    pub(crate) floor: usize,
}

/// A crate's rooms and what was found out about them.
pub(crate) struct Building {
    pub(crate) name: String,
    /// The floors are those of a plan; else they are computed.
    pub(crate) has_plan: bool,
    pub(crate) rooms: Vec<Room>,
    pub(crate) graph: Graph,
    /// Arrows that do not lead downwards.
    pub(crate) upwards: BTreeSet<(usize, usize)>,
    /// Circles of files within a room, of rooms where there is no plan.
    pub(crate) circles: Vec<String>,
    /// What is wrong, with its place.
    pub(crate) findings: Vec<String>,
}

/// Whether the crate's root file carries a plan.
pub(crate) fn has_plan(root: &Path, name: &str) -> bool {
    let file = crates::root_file(root, name).and_then(|file| fs::read_to_string(root.join(file)).ok());
    file.is_some_and(|text| text.lines().any(|line| line.starts_with("// floor ")))
}

/// Reads the crate `name` of the workspace at `root` and holds it against its plan.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn survey(root: &Path, name: &str) -> Result<Building> {
    let all = crates::read(root, name)?;
    let (arrows, mut findings) = arrows::read(&all);
    let root_file = &all.files[0].path;
    let (plan, wrong) = plan::read(&fs::read_to_string(root.join(root_file))?);
    findings.extend(wrong.into_iter().map(|(line, what)| format!("{root_file}:{line}: {what}")));
    let rooms = rooms(&all, &plan, &mut findings);
    let room_at = |name: &str| rooms.iter().position(|room| room.name == name);
    let of_file: Vec<Option<usize>> = all.files.iter().map(|file| room_at(file.room.as_deref()?)).collect();
    let between = arrows.iter().filter_map(|arrow| Some((of_file[arrow.from]?, of_file[arrow.to]?)));
    let graph = Graph::new(rooms.len(), between);
    let mut building = Building {
        name: name.to_owned(),
        has_plan: !plan.is_empty(),
        rooms,
        graph,
        upwards: BTreeSet::new(),
        circles: Vec::new(),
        findings,
    };
    if !building.has_plan {
        for (room, floor) in building.rooms.iter_mut().zip(building.graph.floors()) {
            room.floor = floor;
        }
    }
    building.check_arrows(&all, &arrows, &of_file);
    building.check_circles(&all, &arrows);
    Ok(building)
}

/// The plan's rooms in its order, then those that it lacks.
fn rooms(all: &Crate, plan: &[plan::Line], findings: &mut Vec<String>) -> Vec<Room> {
    let root_file = &all.files[0].path;
    let there = all.rooms();
    let mut rooms: Vec<Room> = Vec::new();
    for line in plan {
        if !there.contains(line.room.as_str()) {
            findings.push(format!("{root_file}:{}: there is no room {}", line.line, line.room));
        } else if rooms.iter().all(|room| room.name != line.room) {
            rooms.push(Room { name: line.room.clone(), words: line.words.clone(), floor: line.floor });
        }
    }
    for name in there {
        if rooms.iter().all(|room| room.name != name) {
            if !plan.is_empty() {
                findings.push(format!("{root_file}:1: the plan lacks the room {name}"));
            }
            rooms.push(Room { name: name.to_owned(), words: String::new(), floor: 0 });
        }
    }
    rooms
}

impl Building {
    fn check_arrows(&mut self, all: &Crate, arrows: &[Arrow], of_file: &[Option<usize>]) {
        for arrow in arrows {
            let place = format!("{}:{}", all.files[arrow.from].path, arrow.line);
            match (of_file[arrow.from], of_file[arrow.to]) {
                (Some(from), Some(to)) if from != to && self.rooms[from].floor <= self.rooms[to].floor => {
                    self.upwards.insert((from, to));
                    let (from, to) = (&self.rooms[from], &self.rooms[to]);
                    self.findings.push(format!(
                        "{place}: {} (floor {}) imports {} of {} (floor {})",
                        from.name, from.floor, arrow.path, to.name, to.floor
                    ));
                }
                (Some(from), None) => {
                    let (from, root) = (&self.rooms[from].name, &all.files[0].path);
                    self.findings
                        .push(format!("{place}: {from} imports {} of {root}, which stands above all", arrow.path));
                }
                _ => {}
            }
        }
    }

    fn check_circles(&mut self, all: &Crate, arrows: &[Arrow]) {
        let room = |file: usize| &all.files[file].room;
        let within: Vec<&Arrow> = arrows.iter().filter(|a| a.needs_text && room(a.from) == room(a.to)).collect();
        let files = Graph::new(all.files.len(), within.iter().map(|arrow| (arrow.from, arrow.to)));
        for circle in files.circles() {
            let steps: Vec<String> = circle
                .windows(2)
                .filter_map(|step| within.iter().find(|arrow| [arrow.from, arrow.to] == *step))
                .map(|arrow| format!("{}:{} imports {}", all.files[arrow.from].path, arrow.line, arrow.path))
                .collect();
            let room = room(circle[0]).as_deref().unwrap_or("the root");
            let circle = format!("a circle within {room}: {}", steps.join(", "));
            self.findings.push(circle.clone());
            self.circles.push(circle);
        }
        for circle in self.graph.circles() {
            let names: Vec<&str> = circle.iter().map(|&room| self.rooms[room].name.as_str()).collect();
            self.circles.push(format!("a circle of rooms: {}", names.join(" -> ")));
        }
    }

    /// The floors from the top down, each with its rooms.
    pub(crate) fn floors(&self) -> Vec<(usize, Vec<usize>)> {
        let mut floors: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, room) in self.rooms.iter().enumerate() {
            floors.entry(room.floor).or_default().push(index);
        }
        floors.into_iter().rev().collect()
    }
}

#[cfg(test)]
mod tests;
