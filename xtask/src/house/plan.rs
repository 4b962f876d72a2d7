//! The plan of a crate, as its root file carries it: `// floor 2: name   what it is for`, top floor first.

/// One room of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) line: usize,
    pub(crate) floor: usize,
    pub(crate) room: String,
    pub(crate) words: String,
}

/// The plan's lines, and what is wrong with their form.
pub(crate) fn read(text: &str) -> (Vec<Line>, Vec<(usize, String)>) {
    let (mut plan, mut wrong): (Vec<Line>, Vec<(usize, String)>) = (Vec::new(), Vec::new());
    for (at, text) in text.lines().enumerate() {
        let Some(rest) = text.strip_prefix("// floor ") else { continue };
        let line = at + 1;
        let Some((floor, room, words)) = parse(rest) else {
            wrong.push((line, "a line of the plan reads `// floor NUMBER: ROOM   what it is for`".to_owned()));
            continue;
        };
        if plan.last().is_some_and(|above| above.floor < floor) {
            wrong.push((line, format!("floor {floor} stands below a lower one")));
        }
        if plan.iter().any(|other| other.room == room) {
            wrong.push((line, format!("{room} stands in the plan twice")));
        }
        plan.push(Line { line, floor, room, words });
    }
    (plan, wrong)
}

fn parse(rest: &str) -> Option<(usize, String, String)> {
    let (floor, rest) = rest.split_once(": ")?;
    let (room, words) = rest.trim().split_once(' ')?;
    Some((floor.parse().ok()?, room.to_owned(), words.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_and_says_what_is_wrong_with_others() {
        let (plan, wrong) = read("//! doc\n// floor 2: apply     patches into rows\n// floor 1: pg  Postgres\n");
        assert_eq!(plan[0], Line { line: 2, floor: 2, room: "apply".into(), words: "patches into rows".into() });
        assert_eq!((plan.len(), wrong.len()), (2, 0));
        let (_, wrong) = read("// floor 1: a  b\n// floor 2: c  d\n// floor two: e  f\n// floor 1: a  g\n");
        assert_eq!(wrong.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4]);
    }
}
