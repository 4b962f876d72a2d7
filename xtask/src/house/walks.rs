//! The walks in `docs/design.md` against the code.
//!
//! A walk is a block that begins with three backticks, `walk`, a name; each line is a step: a file, a function (or `Type::method`), and
//! perhaps `waits here`. Each step is called by one of those before it; the one after a wait is called by one of those after it. No room
//! is entered twice.

use std::path::Path;

use cache_sync_kit::{Error, Result};

use super::calls::Functions;

/// A walk.
pub(super) struct Walk {
    pub(super) name: String,
    steps: Vec<Step>,
}

/// A function that the walk passes.
struct Step {
    file: String,
    function: String,
    /// What walks lies here until somebody takes it.
    waits: bool,
}

impl Step {
    /// The crate and its room.
    fn room(&self) -> String {
        let (of_crate, inside) = self.file.split_once("/src/").unwrap_or((&self.file, ""));
        let room = inside.split(['/', '.']).next().unwrap_or_default();
        format!("{of_crate}/{room}")
    }

    /// The name by which it is called.
    fn method(&self) -> &str {
        self.function.rsplit("::").next().unwrap_or(&self.function)
    }
}

/// The walks of a document.
pub(super) fn read(document: &str) -> Vec<Walk> {
    let mut walks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```walk ") else { continue };
        let steps = lines.by_ref().take_while(|line| !line.starts_with("```")).filter_map(step).collect();
        walks.push(Walk { name: name.to_owned(), steps });
    }
    walks
}

fn step(line: &str) -> Option<Step> {
    let mut words = line.split_whitespace();
    let (file, function) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Step { file, function, waits: line.ends_with("waits here") })
}

/// What of a walk is not so.
pub(super) fn findings(root: &Path, walk: &Walk) -> Result<Vec<String>> {
    let mut findings = rooms_entered_twice(&walk.steps);
    let mut bodies = Vec::new();
    for step in &walk.steps {
        let text = std::fs::read_to_string(root.join(&step.file))
            .map_err(|error| Error::from(format!("{}: {error}", step.file)))?;
        let body = Functions::of(&step.file, &text)?.body_of(&step.function);
        if body.is_none() {
            findings.push(format!("{} has no {}", step.file, step.function));
        }
        bodies.push(body.unwrap_or_default());
    }
    let calls = |caller: usize, called: usize| bodies[caller].calls(walk.steps[called].method());
    for (place, step) in walk.steps.iter().enumerate().skip(1) {
        let is_taken_up = walk.steps[place - 1].waits;
        let is_called = match is_taken_up {
            true => (place + 1..walk.steps.len()).any(|after| calls(after, place)),
            false => (0..place).any(|before| calls(before, place)),
        };
        // Who takes up what waits stands behind it, and is called by nobody on the walk.
        let takes_up = place >= 2 && walk.steps[place - 2].waits && calls(place, place - 1);
        if !is_called && !takes_up {
            let who = if is_taken_up { "after" } else { "before" };
            findings.push(format!("no step {who} it calls {} ({})", step.function, step.file));
        }
    }
    Ok(findings)
}

fn rooms_entered_twice(steps: &[Step]) -> Vec<String> {
    let mut left: Vec<String> = Vec::new();
    let mut findings = Vec::new();
    let mut room = String::new();
    for step in steps {
        let next = step.room();
        if next == room {
            continue;
        }
        if left.contains(&next) {
            findings.push(format!("{next} is entered again by {}", step.function));
        }
        left.push(std::mem::replace(&mut room, next));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const FILES: [(&str, &str); 3] = [
        ("a/src/top.rs", "impl Top { fn get(&self) { self.queue.push(1) } }"),
        (
            "a/src/low.rs",
            "impl Queue { fn push(&self) {} async fn take(&self) {} } fn run() { q.take().await; load() } fn load() { done() }",
        ),
        ("a/src/deep/end.rs", "pub fn done() {}"),
    ];

    fn told(walk: &str) -> Vec<String> {
        let root = std::env::temp_dir().join(format!("cache_sync_walks_{}_{:p}", std::process::id(), walk));
        for (file, text) in FILES {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), text).unwrap();
        }
        let walk = read(&format!("```walk one\n{walk}\n```\n")).remove(0);
        let findings = findings(&root, &walk).unwrap();
        fs::remove_dir_all(root).unwrap();
        findings
    }

    #[test]
    fn a_walk_that_is_true() {
        let walk = "a/src/top.rs Top::get\na/src/low.rs Queue::push  waits here\na/src/low.rs Queue::take\n\
                    a/src/low.rs run\na/src/low.rs load\na/src/deep/end.rs done";
        assert_eq!(told(walk), [""; 0]);
    }

    #[test]
    fn a_step_that_nobody_calls() {
        assert_eq!(told("a/src/top.rs Top::get\na/src/low.rs load"), ["no step before it calls load (a/src/low.rs)"]);
        let walk =
            "a/src/top.rs Top::get\na/src/low.rs Queue::push  waits here\na/src/low.rs load\na/src/deep/end.rs done";
        assert_eq!(told(walk), ["no step after it calls load (a/src/low.rs)"]);
    }

    #[test]
    fn a_function_that_is_not_there() {
        assert!(told("a/src/top.rs Top::put").contains(&"a/src/top.rs has no Top::put".to_owned()));
    }

    #[test]
    fn a_room_that_is_entered_twice() {
        let walk = "a/src/low.rs run\na/src/low.rs load\na/src/deep/end.rs done\na/src/low.rs load";
        assert_eq!(told(walk), ["a/low is entered again by load"]);
    }
}
