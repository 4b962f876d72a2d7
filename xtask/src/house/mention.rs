//! How code names what stands elsewhere.

/// One name of a `use`.
pub(crate) struct Use {
    /// `None` for `*`.
    pub(crate) name: Option<String>,
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    /// `pub use` of some kind: others find the name here, too.
    pub(crate) handed_on: bool,
}

/// A path in code.
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    pub(crate) calls_macro: bool,
}
