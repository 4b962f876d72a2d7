//! What a patch wants of a document.

/// What a patch wants of the document's own members that add, append and the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It brings changes of them.
    Edit,
    /// It brings values, which count only where there is none.
    Put,
}
