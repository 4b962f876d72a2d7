//! The text of walks: fenced blocks, a step a line.

/// Where the walks are listed.
pub(crate) const DOCUMENT: &str = "docs/design.md";

/// A way through the code.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) file: String,
    /// `Type::method` or `function`.
    pub(crate) function: String,
    /// The walk goes on by another task's hand.
    pub(crate) waits: bool,
}

const FENCE: &str = "```";

/// The walks of a document, and the lines that are not steps.
pub(crate) fn read(document: &str) -> (Vec<Walk>, Vec<String>) {
    let (mut walks, mut wrong): (Vec<Walk>, Vec<String>) = (Vec::new(), Vec::new());
    let mut open: Option<Walk> = None;
    for (at, text) in document.lines().enumerate() {
        let line = at + 1;
        match &mut open {
            None => {
                let name = text.strip_prefix(FENCE).and_then(|text| text.strip_prefix("walk "));
                open = name.map(|name| Walk { name: name.trim().to_owned(), steps: Vec::new() });
            }
            Some(_) if text.starts_with(FENCE) => walks.extend(open.take()),
            Some(walk) => match step(line, text) {
                Some(step) => walk.steps.push(step),
                None => wrong.push(format!(
                    "{}:{line}: walk {}: a step reads `FILE FUNCTION`, perhaps with `waits here`",
                    DOCUMENT, walk.name
                )),
            },
        }
    }
    walks.extend(open);
    (walks, wrong)
}

fn step(line: usize, text: &str) -> Option<Step> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (file, function, waits) = match words[..] {
        [file, function] => (file, function, false),
        [file, function, "waits", "here"] => (file, function, true),
        _ => return None,
    };
    Some(Step { line, file: file.to_owned(), function: function.to_owned(), waits })
}
