//! The plan in a crate's `lib.rs`: lines `// floor 3: name   words`, the top floor first.

use cache_sync_kit::{Error, Result};

use super::source::Source;

/// The rooms of a crate.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) rooms: Vec<Room>,
}

/// A room, and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) floor: usize,
    pub(super) name: String,
    pub(super) words: String,
}

impl Plan {
    /// Reads the plan.
    ///
    /// # Errors
    /// A line is not of that form, or the floors do not come in their order.
    pub(super) fn of(source: &Source) -> Result<Plan> {
        let wrong = |line: &str| Error::from(format!("{}/src/lib.rs: `{line}` is no line of a plan", source.name));
        let mut plan = Plan::default();
        for line in source.lib.lines().filter(|line| line.starts_with("// floor ")) {
            let room = room(line).ok_or_else(|| wrong(line))?;
            if plan.rooms.last().is_some_and(|above| above.floor < room.floor) {
                return Err(wrong(line));
            }
            plan.rooms.push(room);
        }
        Ok(plan)
    }

    /// The floor of a room.
    pub(super) fn floor(&self, room: &str) -> Option<usize> {
        self.rooms.iter().find(|of| of.name == room).map(|room| room.floor)
    }

    /// How many floors there are.
    pub(super) fn floors(&self) -> usize {
        self.rooms.iter().map(|room| room.floor).max().unwrap_or(0)
    }
}

fn room(line: &str) -> Option<Room> {
    let (floor, rest) = line.strip_prefix("// floor ")?.split_once(": ")?;
    let (name, words) = rest.split_once(' ')?;
    Some(Room { floor: floor.parse().ok()?, name: name.to_owned(), words: words.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_floor_name_and_words() {
        let room = room("// floor 4: read      the walk of a key").unwrap();
        assert_eq!((room.floor, &*room.name, &*room.words), (4, "read", "the walk of a key"));
        assert!(super::room("// floor four: read  the walk of a key").is_none());
    }
}
