//! Objects and lists in `jsonb`'s own form: merged where a patch is newer than all that is there and so no stamps have to be
//! compared, cut, and made of texts. What does not look like that form is left to the caller.
//!
//! ```text
//! object    a patch over an object       of_text   a JSON text as a container
//! array     lists, and scalars           number    numbers as `numeric` keeps them
//! form      what a container looks like
//! ```

mod array;
mod form;
mod number;
mod object;
mod of_text;

pub(crate) use array::{last_of, list_len, scalar_string};
pub(crate) use object::{EMPTY, Object};
pub(crate) use of_text::{has_bad_escapes, of_text, string};
