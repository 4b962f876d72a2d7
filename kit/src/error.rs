//! Errors end the run; whatever they are, they are only shown.

use std::fmt::Display;

/// Any failure, as a sentence for whoever ran the command.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// Names what an error was about.
pub trait During<T> {
    /// Puts `what()` before the error.
    ///
    /// # Errors
    /// There was one.
    fn during(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Display> During<T> for std::result::Result<T, E> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::from(format!("{}: {error}", what())))
    }
}
