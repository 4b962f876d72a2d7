//! Whether a type's members can hold what their columns hold at all.
//!
//! ```text
//! sample   values that a column may hold      advice   what would hold them, for people
//! any_text what a member is shown to see whether it takes every text
//! ```

mod advice;
mod any_text;
mod sample;

use super::caught::caught;
use super::fields;
use super::layout::{Column, Layout, Role, TypeKind, members_of};
use super::row::{Cells, DecodeError, Members};
use super::type_name;
use any_text::AnyText;
use postgres_types::{Kind, Type};
use sample::Samples;
use serde::de::DeserializeOwned;

/// A member that cannot hold what is in its column.
#[derive(Debug, thiserror::Error)]
#[error("the member \"{name}\"{member} cannot hold the column \"{name}\" ({ty}): {why}; {advice}")]
pub(crate) struct Misfit {
    name: String,
    /// Its type in Rust.
    member: String,
    /// The column's type.
    ty: String,
    why: String,
    advice: String,
}

/// Shows the type some values of each column; a member that takes none of this type is a mistake, and so is what it would write. What a
/// member thinks of a value itself says nothing, unless the values are as values of that type are.
///
/// # Errors
/// [`Misfit`] for the first member that does not fit.
pub(crate) fn check<V: DeserializeOwned>(layout: &Layout) -> Result<(), Misfit> {
    // A map of texts means all columns, whatever they are.
    let tells_members = members_of::<V>().is_some();
    for column in &layout.columns {
        let mut refused = refused::<V>(column);
        let is_written = matches!(column.role, Role::Field { .. });
        if refused.is_none() && is_written && tells_members && is_no_text(&column.ty) && takes_any_text::<V>(column) {
            refused = shown::<V, _>(column, || Ok(AnyText { is_refused: true })).filter(is_of_text);
        }
        if let Some(error) = refused {
            return Err(Misfit::new(column, &error));
        }
    }
    Ok(())
}

impl Misfit {
    fn new(column: &Column, error: &DecodeError) -> Misfit {
        let member = error.member().map(type_name::short).unwrap_or_default();
        let is_wrapped = member.contains("__DeserializeWith");
        Misfit {
            name: column.name.clone(),
            ty: sql_name(&column.ty),
            why: error.message().to_owned(),
            advice: advice::advice(&member, &column.ty),
            member: if member.is_empty() || is_wrapped { member_with(is_wrapped) } else { format!(" ({member})") },
        }
    }
}

fn member_with(is_wrapped: bool) -> String {
    if is_wrapped { " (with its `#[serde(with)]`)".to_owned() } else { String::new() }
}

fn sql_name(ty: &Type) -> String {
    match ty.kind() {
        Kind::Array(element) => format!("{}[]", sql_name(element)),
        _ => ty.name().to_owned(),
    }
}

/// Why the member takes none of the values that its column may hold; `None` if it takes one, or what it says is of no weight.
fn refused<V: DeserializeOwned>(column: &Column) -> Option<DecodeError> {
    let samples = Samples::of(&column.ty);
    let mut refused = None;
    for sample in &samples.texts {
        let error = shown::<V, _>(column, || fields::cell(&column.ty, sample))?;
        let is_final = error.is_of_type() || (samples.are_typical && says_what_it_reads(&error, &column.ty));
        if !is_final {
            return None;
        }
        refused.get_or_insert(error);
    }
    refused
}

/// Whether a member that takes none of the typical values takes none at all: types of one's own may have reasons of their own.
fn says_what_it_reads(error: &DecodeError, ty: &Type) -> bool {
    let member = error.member().map(type_name::short).unwrap_or_default();
    matches!(sample::base(ty).kind(), Kind::Enum(_)) || advice::is_known(&member)
}

/// What the column's member says to a value; `None` if it takes it, or panics.
fn shown<'a, V, D>(column: &'a Column, value: impl FnOnce() -> Result<D, DecodeError>) -> Option<DecodeError>
where
    V: DeserializeOwned,
    D: Cells<'a>,
{
    let deserialized = caught(|| V::deserialize(Members::new(std::iter::once((column, value)))).map(drop));
    // One without a member is of the others, which are not there.
    deserialized.ok()?.err().filter(|error| error.member().is_some())
}

/// Whether the member is a text, and no type that reads one.
fn is_of_text(error: &DecodeError) -> bool {
    error.member().map(type_name::short).is_some_and(|member| advice::is_text(&member))
}

/// Whether the column's texts are numbers, for which there are types that hold nothing else. There is none for exact decimals.
fn is_no_text(ty: &Type) -> bool {
    let kind = TypeKind::of(ty);
    kind.is_number() && !matches!(kind, TypeKind::Numeric)
}

/// Whether the column's member would also hold, and so write, what is no number.
fn takes_any_text<V: DeserializeOwned>(column: &Column) -> bool {
    type Read = fn() -> Result<AnyText, DecodeError>;
    let is_taken = std::cell::Cell::new(false);
    let member = std::iter::once((column, (|| Ok(AnyText { is_refused: false })) as Read));
    // Whoever asks for the next member has taken this one.
    let member = member.chain(std::iter::from_fn(|| {
        is_taken.set(true);
        None
    }));
    let deserialized = caught(|| V::deserialize(Members::new(member)).map(drop));
    deserialized.is_ok() && is_taken.get()
}

#[cfg(test)]
mod tests;
