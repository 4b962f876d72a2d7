//! The guide's pictures, made from texts: who tells whom what, from top to bottom.
//!
//! ```text
//! title A read
//! lane code: your code
//! lane cache: Cache in your process
//! code -> cache: get(&7)
//! note cache: held
//! ```

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cache_sync_cluster::workspace_root;
use cache_sync_kit::{During, Error, Result};

/// Where they lie, texts and pictures.
const DIR: &str = "docs/guide/pictures";

const LANE_WIDTH: usize = 250;
const ROW_HEIGHT: usize = 54;
const TOP: usize = 84;
const MARGIN: usize = 20;
/// About as many letters fit beside each other in a lane.
const LETTERS: usize = 34;
/// About as many of the title's fit in a lane's width.
const TITLE_LETTERS: usize = 27;
/// As many lines fit in a row, above an arrow and in a note.
const TOLD_LINES_MAX: usize = 2;
const NOTE_LINES_MAX: usize = 3;
const LINE_HEIGHT: usize = 15;

/// Writes each picture beside its text.
pub(crate) fn run() -> Result<ExitCode> {
    for (path, svg) in all()? {
        fs::write(&path, svg).during(|| path.display().to_string())?;
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Each picture, and where it belongs.
fn all() -> Result<Vec<(PathBuf, String)>> {
    let dir = workspace_root().join(DIR);
    let mut texts: Vec<PathBuf> =
        fs::read_dir(&dir).during(|| dir.display().to_string())?.flatten().map(|file| file.path()).collect();
    texts.retain(|path| path.extension() == Some("txt".as_ref()));
    texts.sort();
    texts.into_iter().map(|path| drawn(&path).map(|svg| (path.with_extension("svg"), svg))).collect()
}

fn drawn(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).during(|| path.display().to_string())?;
    let picture = Picture::read(&text).map_err(|why| Error::from(format!("{}: {why}", path.display())))?;
    Ok(picture.svg())
}

/// What happens at a row.
enum Row {
    /// One lane tells another.
    Told { from: usize, to: usize, lines: Vec<String> },
    /// Something is so in a lane.
    Note { lane: usize, lines: Vec<String> },
}

struct Picture {
    title: String,
    /// Their short names, and what they are.
    lanes: Vec<(String, String)>,
    rows: Vec<Row>,
}

impl Picture {
    fn read(text: &str) -> std::result::Result<Picture, String> {
        let mut picture = Picture { title: String::new(), lanes: Vec::new(), rows: Vec::new() };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if let Some(title) = line.strip_prefix("title ") {
                title.clone_into(&mut picture.title);
                continue;
            }
            let (head, text) = line.split_once(": ").ok_or_else(|| format!("no colon in `{line}`"))?;
            if let Some(name) = head.strip_prefix("lane ") {
                picture.add_lane(name, text)?;
            } else if let Some(name) = head.strip_prefix("note ") {
                let lines = wrapped(text, LETTERS, NOTE_LINES_MAX)?;
                picture.rows.push(Row::Note { lane: picture.lane(name)?, lines });
            } else {
                let (from, to) = head.split_once(" -> ").ok_or_else(|| format!("no arrow in `{line}`"))?;
                picture.add_told(picture.lane(from)?, picture.lane(to)?, text)?;
            }
        }
        match (picture.title.chars().count(), picture.lanes.len()) {
            (0, _) => Err("it has no title".into()),
            (_, 0) => Err("it has no lanes".into()),
            (letters, lanes) if letters > lanes * TITLE_LETTERS => Err(format!("`{}` is too long", picture.title)),
            _ => Ok(picture),
        }
    }

    fn add_lane(&mut self, name: &str, what: &str) -> std::result::Result<(), String> {
        if self.lane(name).is_ok() {
            return Err(format!("there are two lanes `{name}`"));
        }
        wrapped(what, LETTERS, 1)?;
        self.lanes.push((name.to_owned(), what.to_owned()));
        Ok(())
    }

    fn add_told(&mut self, from: usize, to: usize, text: &str) -> std::result::Result<(), String> {
        if from == to {
            return Err(format!("`{}` tells itself `{text}`: that is a note", self.lanes[from].0));
        }
        let lines = wrapped(text, LETTERS * from.abs_diff(to) + 2, TOLD_LINES_MAX)?;
        self.rows.push(Row::Told { from, to, lines });
        Ok(())
    }

    fn lane(&self, name: &str) -> std::result::Result<usize, String> {
        self.lanes.iter().position(|(lane, _)| lane == name).ok_or_else(|| format!("there is no lane `{name}`"))
    }

    fn svg(&self) -> String {
        let (width, height) = (self.lanes.len() * LANE_WIDTH + 2 * MARGIN, TOP + self.rows.len() * ROW_HEIGHT + MARGIN);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\" \
             aria-label=\"{title}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<style>{STYLE}</style>\n\
             <rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n\
             <text x=\"{MARGIN}\" y=\"28\" font-size=\"17\" font-weight=\"600\">{title}</text>\n",
            title = escaped(&self.title)
        );
        for (lane, (_, what)) in self.lanes.iter().enumerate() {
            let x = middle(lane);
            // A String takes whatever is written.
            let _ = writeln!(
                svg,
                "<line class=\"lane\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{}\"/>",
                TOP - 14,
                height - 12
            );
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" font-weight=\"600\">{}</text>",
                TOP - 24,
                escaped(what)
            );
        }
        for (place, row) in self.rows.iter().enumerate() {
            row.draw(TOP + place * ROW_HEIGHT + ROW_HEIGHT / 2, &mut svg);
        }
        svg + "</svg>\n"
    }
}

impl Row {
    fn draw(&self, y: usize, svg: &mut String) {
        let _ = match self {
            Row::Note { lane, lines } => {
                let (x, height) = (middle(*lane), lines.len() * LINE_HEIGHT + 8);
                let (left, top) = (x - LANE_WIDTH / 2 + 6, y - height / 2);
                let _ = writeln!(
                    svg,
                    "<rect class=\"note\" x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{height}\" rx=\"5\"/>",
                    LANE_WIDTH - 12
                );
                write_lines(svg, lines, x, top + LINE_HEIGHT)
            }
            Row::Told { from, to, lines } => {
                let (from, to) = (middle(*from), middle(*to));
                let (tip, side) = if to > from { (to - 4, to - 12) } else { (to + 4, to + 12) };
                let _ = writeln!(svg, "<line class=\"told\" x1=\"{from}\" y1=\"{y}\" x2=\"{tip}\" y2=\"{y}\"/>");
                let _ = writeln!(svg, "<path class=\"tip\" d=\"M{tip} {y}L{side} {}L{side} {}Z\"/>", y - 4, y + 4);
                write_lines(svg, lines, usize::midpoint(from, to), y - 5 - (lines.len() - 1) * LINE_HEIGHT)
            }
        };
    }
}

fn write_lines(svg: &mut String, lines: &[String], x: usize, top: usize) -> std::fmt::Result {
    for (place, line) in lines.iter().enumerate() {
        writeln!(
            svg,
            "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            top + place * LINE_HEIGHT,
            escaped(line)
        )?;
    }
    Ok(())
}

/// Where a lane's line is.
fn middle(lane: usize) -> usize {
    MARGIN + lane * LANE_WIDTH + LANE_WIDTH / 2
}

/// The words in lines of so many letters.
fn wrapped(text: &str, letters: usize, lines_max: usize) -> std::result::Result<Vec<String>, String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= letters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let fits = lines.len() <= lines_max && lines.iter().all(|line| line.chars().count() <= letters);
    if fits { Ok(lines) } else { Err(format!("`{text}` is too long")) }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Readable on light and dark pages.
const STYLE: &str = ".page{fill:#fff}text{fill:#1c2733}.lane{stroke:#9aa7b5;stroke-dasharray:3 4}.note{fill:#eef3f8;stroke:#c6d2de}\
     .told{stroke:#1f6feb;stroke-width:1.5}.tip{fill:#1f6feb}\
     @media(prefers-color-scheme:dark){.page{fill:#10161d}text{fill:#e3eaf2}.lane{stroke:#5a6876}.note{fill:#1b2530;stroke:#344352}\
     .told{stroke:#6ea8ff}.tip{fill:#6ea8ff}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pictures_are_those_of_their_texts() {
        let all = all().expect("they can be drawn");
        assert!(all.len() >= 3);
        for (path, svg) in all {
            let kept = fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == svg, "{} is another one: `cargo xtask pictures` draws it", path.display());
        }
    }

    #[test]
    fn what_is_no_picture_is_said() {
        let why = |text: &str| Picture::read(text).err().expect("it is none");
        assert_eq!(why("lane a: A\na -> b: x"), "there is no lane `b`");
        assert_eq!(why("lane a"), "no colon in `lane a`");
        assert_eq!(why("lane a: A\nb: x"), "no arrow in `b: x`");
        assert_eq!(why("lane a: A\na -> a: x"), "`a` tells itself `x`: that is a note");
        assert_eq!(why("lane a: A\nlane a: B"), "there are two lanes `a`");
        assert_eq!(why("lane a: A"), "it has no title");
        assert_eq!(why("title x"), "it has no lanes");
    }

    #[test]
    fn what_has_no_room_is_refused() {
        let draw = |line: &str| Picture::read(&format!("title x\nlane a: A\nlane b: B\n{line}")).map(|it| it.svg());
        let words = |count| vec!["one two three four five six seven"; count].join(" ");
        for (head, lines) in [("note a", NOTE_LINES_MAX), ("a -> b", TOLD_LINES_MAX), ("lane c", 1)] {
            assert!(draw(&format!("{head}: {}", words(lines))).is_ok(), "{head}");
            let why = draw(&format!("{head}: {}", words(lines + 1))).expect_err("it is too long");
            assert_eq!(why, format!("`{}` is too long", words(lines + 1)));
            assert!(draw(&format!("{head}: {}", "x".repeat(40))).is_err(), "a word that is wider than its place");
        }
        assert!(draw(&format!("title {}", "x".repeat(55))).is_err());
        assert!(draw(&format!("title {}", "x".repeat(54))).is_ok());
    }

    #[test]
    fn errors_name_the_file() {
        let error = drawn(Path::new("/nowhere/x.txt")).expect_err("there is none");
        assert!(error.to_string().starts_with("/nowhere/x.txt: "), "{error}");
    }
}
