//! A Dockerfile, taken apart as far as ours goes.

use cache_sync_kit::{Error, Result};

/// One, as its stages.
#[derive(Debug)]
pub(super) struct Dockerfile {
    /// Values of `ARG`, by name.
    pub(super) values: Vec<(String, String)>,
    pub(super) stages: Vec<Stage>,
}

/// From one `FROM` to the next.
#[derive(Debug, Default)]
pub(super) struct Stage {
    /// What other stages call it.
    pub(super) name: String,
    pub(super) from: String,
    pub(super) steps: Vec<Step>,
}

/// What is done in a stage.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Run(String),
    /// From which stage, if from none then from the checkout; what; where to.
    Copy(Option<String>, String, String),
    Env(Vec<(String, String)>),
    Workdir(String),
    /// The words of the command that runs in the end.
    Cmd(Vec<String>),
}

impl Dockerfile {
    /// Takes a text apart; arguments in it have their default values.
    ///
    /// # Errors
    /// It says what ours does not say: the error names the line.
    pub(super) fn read(text: &str) -> Result<Dockerfile> {
        let mut file = Dockerfile { values: Vec::new(), stages: Vec::new() };
        for line in lines(text) {
            let (instruction, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let rest = rest.trim();
            // The shell sees to variables itself.
            let filled = file.filled(rest);
            let step = match instruction {
                "ARG" => {
                    file.argument(rest)?;
                    continue;
                }
                "FROM" => {
                    let (from, name) = filled.split_once(" AS ").unwrap_or((&filled, ""));
                    file.stages.push(Stage { name: name.to_owned(), from: from.to_owned(), steps: Vec::new() });
                    continue;
                }
                // Scripts run by it as they are.
                "SHELL" => continue,
                "RUN" => Step::Run(rest.to_owned()),
                "COPY" => copy(&filled).ok_or_else(|| format!("not understood: {line}"))?,
                "ENV" => Step::Env(filled.split_whitespace().filter_map(assignment).collect()),
                "WORKDIR" => Step::Workdir(filled),
                "CMD" => Step::Cmd(serde_json::from_str(rest).map_err(|error| format!("{line}: {error}"))?),
                _ => return Err(Error::from(format!("not understood: {line}"))),
            };
            file.stages.last_mut().ok_or_else(|| format!("before any FROM: {line}"))?.steps.push(step);
        }
        Ok(file)
    }

    /// One without a value is let into a stage, and must have been given one before.
    fn argument(&mut self, text: &str) -> Result<()> {
        match text.split_once('=') {
            Some((name, value)) => self.values.push((name.to_owned(), value.to_owned())),
            None if self.values.iter().any(|(name, _)| name == text) => {}
            None => return Err(Error::from(format!("no default: ARG {text}"))),
        }
        Ok(())
    }

    /// Which PostgreSQL it is of by default.
    ///
    /// # Errors
    /// It does not say.
    pub(super) fn postgres(&self) -> Result<u32> {
        let value = self.values.iter().find(|(name, _)| name == "PG_MAJOR");
        value.and_then(|(_, value)| value.parse().ok()).ok_or_else(|| Error::from("docker/Dockerfile has no PG_MAJOR"))
    }

    /// With the values of arguments in their places.
    fn filled(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
    }
}

/// Whole instructions: those that go on over the end of their line are joined, comments are gone.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let part = line.strip_suffix('\\').unwrap_or(line);
        match lines.last_mut() {
            Some(last) if goes_on => *last += part,
            _ => lines.push(part.to_owned()),
        }
        goes_on = part.len() < line.len();
    }
    lines
}

fn copy(words: &str) -> Option<Step> {
    let words: Vec<&str> = words.split_whitespace().collect();
    let (from, paths) = match words.as_slice() {
        [first, paths @ ..] if first.starts_with("--from=") => {
            (first.strip_prefix("--from=").map(str::to_owned), paths)
        }
        paths => (None, paths),
    };
    let [what, to] = paths else { return None };
    Some(Step::Copy(from, (*what).to_owned(), (*to).to_owned()))
}

fn assignment(word: &str) -> Option<(String, String)> {
    word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_stages_and_steps_apart() {
        let text = "ARG PG_MAJOR=17\n# no\nFROM a:${PG_MAJOR} AS build\nRUN one \\\n    # no\n    && \"${PG_MAJOR}\"\nENV A=b C=d\n\
                    FROM x\nCOPY --from=build /out/ /lib/${PG_MAJOR}/\nCMD [\"p\", \"-c\"]\n";
        let file = Dockerfile::read(text).unwrap();
        assert_eq!(file.postgres().unwrap(), 17);
        let [build, last] = &file.stages[..] else { panic!("{file:?}") };
        assert_eq!((build.name.as_str(), build.from.as_str()), ("build", "a:17"));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let env = Step::Env(vec![pair("A", "b"), pair("C", "d")]);
        assert_eq!(build.steps, [Step::Run("one && \"${PG_MAJOR}\"".to_owned()), env]);
        let copy = Step::Copy(Some("build".to_owned()), "/out/".to_owned(), "/lib/17/".to_owned());
        assert_eq!(last.steps, [copy, Step::Cmd(vec!["p".to_owned(), "-c".to_owned()])]);
    }

    #[test]
    fn refuses_what_it_would_do_otherwise_than_a_builder() {
        let error = |text: &str| Dockerfile::read(text).unwrap_err().to_string();
        assert_eq!(error("FROM a\nADD x y\n"), "not understood: ADD x y");
        assert_eq!(error("RUN x\n"), "before any FROM: RUN x");
        assert_eq!(error("ARG A\n"), "no default: ARG A");
    }
}
