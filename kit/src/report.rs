//! What was found, for programs to read.

use std::path::Path;

use serde_json::Value;

use crate::error::{During, Result};

/// Writes figures to a file.
///
/// # Errors
/// It cannot be written.
pub fn write_json(file: &Path, figures: &Value) -> Result<()> {
    std::fs::write(file, format!("{figures:#}\n")).during(|| file.display().to_string())
}
