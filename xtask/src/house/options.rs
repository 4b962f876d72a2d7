//! What `cargo xtask house` is asked for.

use std::path::PathBuf;

use cache_sync_kit::{CommandLine, Error, Result};

const LINE: CommandLine<'_> = CommandLine {
    valued: &["--crate", "--at", "--svg", "--json"],
    alone: &["--write"],
    usage: "usage: cargo xtask house [--crate NAME] [--write] [--at REVISION] [--svg DIR] [--json FILE]",
};

#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Only this one, whether it has a plan or not.
    pub(crate) of_crate: Option<String>,
    /// Another state of the repository than the files at hand.
    pub(crate) revision: Option<String>,
    pub(crate) json_file: Option<PathBuf>,
    pub(crate) svg_dir: Option<PathBuf>,
    /// Draw the pictures of the docs anew.
    pub(crate) write: bool,
}

impl Options {
    /// # Errors
    /// An option is unknown or lacks its value, or two do not go together.
    pub(crate) fn parse(args: &[String]) -> Result<Options> {
        let values = LINE.parse(args)?;
        let options = Options {
            of_crate: values.maybe("--crate")?,
            revision: values.maybe("--at")?,
            json_file: values.maybe("--json")?,
            svg_dir: values.maybe("--svg")?,
            write: values.has("--write"),
        };
        if options.write && options.revision.is_some() {
            return Err(Error::from("the pictures of the docs show the files at hand: --at goes with --svg"));
        }
        Ok(options)
    }
}
