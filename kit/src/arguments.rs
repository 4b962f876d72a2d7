//! A command line, taken apart.

use std::str::FromStr;

use crate::error::{Error, Result};

/// What a command line may say.
#[derive(Debug)]
pub struct CommandLine<'k> {
    /// Names that a value follows.
    pub valued: &'k [&'k str],
    /// Names that stand alone.
    pub alone: &'k [&'k str],
    /// What is told to whoever gets it wrong, or asks by `--help`.
    pub usage: &'k str,
}

impl CommandLine<'_> {
    /// Takes it apart.
    ///
    /// # Errors
    /// A name is not known, or lacks its value, or it is `--help`: the error holds how to use the program.
    pub fn parse(&self, args: &[String]) -> Result<Values> {
        let mut values = Vec::new();
        let mut args = args.iter();
        while let Some(name) = args.next() {
            let value = if self.alone.contains(&name.as_str()) {
                String::new()
            } else if self.valued.contains(&name.as_str()) {
                args.next().ok_or_else(|| format!("{name} wants a value\n{}", self.usage))?.clone()
            } else if name == "--help" {
                return Err(Error::from(self.usage));
            } else {
                return Err(format!("{name} is not known\n{}", self.usage).into());
            };
            values.push((name.clone(), value));
        }
        Ok(Values(values))
    }
}

/// What a command line says, in its order.
#[derive(Debug)]
pub struct Values(Vec<(String, String)>);

impl Values {
    /// Its names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Whether it has this name.
    pub fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// The value of this name, the last one if there are several.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    /// A value that may be there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn maybe<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("{name} cannot be {text}").into())
    }

    /// A value that is `default` where it is not there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn or<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        Ok(self.maybe(name)?.unwrap_or(default))
    }

    /// A value that must be there.
    ///
    /// # Errors
    /// It is not, or it cannot be read.
    pub fn must<T: FromStr>(&self, name: &str) -> Result<T> {
        self.maybe(name)?.ok_or_else(|| format!("{name} is missing").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: CommandLine<'_> = CommandLine { valued: &["--seconds"], alone: &["--keep", "feed"], usage: "usage: x" };

    fn parse(words: &str) -> std::result::Result<Values, String> {
        let args: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        LINE.parse(&args).map_err(|error| error.to_string())
    }

    #[test]
    fn hands_out_what_was_said() {
        let values = parse("feed --seconds 5 --seconds 7").unwrap();
        assert_eq!(values.names().collect::<Vec<_>>(), ["feed", "--seconds", "--seconds"]);
        assert!(values.has("feed") && !values.has("--keep"));
        assert_eq!((values.must::<u32>("--seconds").unwrap(), values.or("--scale", 3).unwrap()), (7, 3));
        assert_eq!(values.must::<u32>("--scale").unwrap_err().to_string(), "--scale is missing");
        let values = parse("--seconds soon").unwrap();
        assert_eq!(values.or("--seconds", 1).unwrap_err().to_string(), "--seconds cannot be soon");
    }

    #[test]
    fn tells_how_it_is_used_to_whoever_gets_it_wrong() {
        assert_eq!(parse("--seconds").unwrap_err(), "--seconds wants a value\nusage: x");
        assert_eq!(parse("--keep --minutes 3").unwrap_err(), "--minutes is not known\nusage: x");
        assert_eq!(parse("--help").unwrap_err(), "usage: x");
    }
}
