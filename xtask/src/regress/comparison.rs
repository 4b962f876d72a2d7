//! What tests printed on two servers, compared.

use std::fs;
use std::path::Path;
use std::process::Command;

use cache_sync_kit::Result;

use super::suite::Printed;

/// Lines that differ are told up to this many for each test.
const TOLD_MAX: usize = 12;

/// What one server's tests printed, against another's.
pub(super) struct Comparison<'c> {
    pub(super) name: &'c str,
    /// Why tests print something else, by their names.
    pub(super) explained: &'c [(&'c str, &'c str)],
    /// Where whole differences are written.
    pub(super) dir: &'c Path,
}

impl Comparison<'_> {
    /// Tells which tests printed something else, by how many lines and why; of those that nobody has explained, the lines that do not name
    /// the extension.
    pub(super) fn tell(&self, before: &Printed, after: &Printed) -> Result<Vec<serde_json::Value>> {
        println!("\n==== {} ====", self.name);
        let mut differ = Vec::new();
        for (test, text) in before {
            let other = after.get(test).map(String::as_str).unwrap_or_default();
            if text == other {
                continue;
            }
            let lines = differing(text, other);
            let mut unnamed: Vec<&String> = lines.iter().filter(|line| !line.contains("cache_sync")).collect();
            let reason = self.explained.iter().find(|(of, _)| of == test).map(|(_, reason)| *reason);
            println!("{test}: {} lines differ, {} of them do not name the extension", lines.len(), unnamed.len());
            println!("    why: {}", reason.unwrap_or("NOT EXPLAINED"));
            if reason.is_some() {
                unnamed.clear();
            }
            fs::write(self.dir.join(format!("{test}.diff")), lines.join("\n"))?;
            unnamed.iter().take(TOLD_MAX).for_each(|line| println!("    {line}"));
            differ.push(serde_json::json!({"test": test, "lines": lines.len(), "why": reason}));
        }
        println!("{} of {} tests print something else", differ.len(), before.len());
        Ok(differ)
    }
}

/// The lines that only one of two texts has, as diff tells them; the white space that lines up columns aside.
fn differing(one: &str, other: &str) -> Vec<String> {
    let dir = std::env::temp_dir();
    let (left, right) =
        (dir.join(format!("one-{}", std::process::id())), dir.join(format!("other-{}", std::process::id())));
    let diff = fs::write(&left, one)
        .and_then(|()| fs::write(&right, other))
        .and_then(|()| Command::new("diff").arg("-w").args([&left, &right]).output());
    // Nothing depends on whether they are left behind.
    let _ = (fs::remove_file(&left), fs::remove_file(&right));
    match diff {
        Ok(diff) => {
            let text = String::from_utf8_lossy(&diff.stdout).into_owned();
            text.lines().filter(|line| line.starts_with(['<', '>'])).map(str::to_owned).collect()
        }
        Err(error) => vec![format!("diff: {error}")],
    }
}
