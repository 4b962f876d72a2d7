//! The functions over documents that compiled statements call, for every row: what a patch makes of a document, and of the
//! stamps of its paths.
//!
//! A statement asks several times about the same row and patch: whether anything changes, for the value, for the clock.
//! What was merged last is kept with what it was made of.

use super::clock::{self, DECIDED, note_of};
use super::jsonb::{self, Object};
use crate::call::function::sql_functions;
use crate::call::{answer, argument};
use crate::pg::backend::OfBackend;
use crate::pg::failure::Failure;
use crate::pg::value::{self, plain_bytes};
use cache_sync_core::document::{self, Way};
use cache_sync_core::hlc::believed;
use cache_sync_core::merge;
use cache_sync_core::number::{FieldId, Stamp, Version};
use cache_sync_core::paths::Paths;
use cache_sync_core::rule::{DocumentRule, Rule};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::rc::Rc;

/// How many rules are kept.
const RULES_MAX: usize = 64;
/// How many patches of different times one may be put together of: the SDK puts fewer together.
const PARTS_MAX: usize = 10_000;

/// What became of a document.
struct Merged {
    field: FieldId,
    /// The arguments that it was made of.
    made_of: Vec<u8>,
    value: Option<Value>,
    paths: Paths,
    is_applied: bool,
    is_lost: bool,
}

/// A document.
enum Value {
    Text(String),
    /// A jsonb's container.
    Bytes(Vec<u8>),
}

impl Default for Merged {
    fn default() -> Merged {
        let paths = Paths::all(Stamp(0));
        Merged { field: FieldId(0), made_of: Vec::new(), value: None, paths, is_applied: false, is_lost: false }
    }
}

/// What a statement says of a patch beside its value.
#[derive(Clone, Copy)]
struct Incoming {
    way: Way,
    /// Whether its value is a list of patches with stamps of their own.
    is_each: bool,
    /// Its stamp, or the time, far ahead of which those of its parts are not believed.
    stamp: Stamp,
}

/// A rule with the text that it was read from.
type KnownRule = (Vec<u8>, Rc<DocumentRule>);

static RULES: OfBackend<RefCell<Vec<KnownRule>>> = OfBackend::new(RefCell::new(Vec::new()));
static LAST: OfBackend<RefCell<Vec<Rc<Merged>>>> = OfBackend::new(RefCell::new(Vec::new()));

/// Keeps what was merged last through what a user's code may do in the middle of a statement of ours; restored when
/// dropped.
pub(crate) struct LastDocuments(Vec<Rc<Merged>>);

impl LastDocuments {
    /// Keeps it.
    pub(crate) fn keep() -> LastDocuments {
        LastDocuments(LAST.borrow().clone())
    }
}

impl Drop for LastDocuments {
    fn drop(&mut self) {
        LAST.replace(std::mem::take(&mut self.0));
    }
}

/// The rule that a text spells.
pub(crate) fn rule(text: &[u8]) -> Result<Rc<DocumentRule>, Failure> {
    if let Some((_, rule)) = RULES.borrow().iter().find(|(known, _)| known == text) {
        return Ok(Rc::clone(rule));
    }
    let Ok(Rule::Json(rule)) = serde_json::from_slice(text) else {
        return Err(Failure::new(b"22023", "this is no rule for documents"));
    };
    let rule = Rc::new((*rule).clone());
    let mut rules = RULES.borrow_mut();
    if rules.len() >= RULES_MAX {
        rules.clear();
    }
    rules.push((text.to_vec(), Rc::clone(&rule)));
    Ok(rule)
}

/// Merges, unless that was done last for this field. The arguments from `first` on are `(rule text, is_edit boolean,
/// is_each boolean, current jsonb, incoming jsonb, stamp bigint, clock bytea, version bigint, field smallint)`.
///
/// # Safety
/// `fcinfo` must be of a function with these arguments.
unsafe fn merged(fcinfo: pg_sys::FunctionCallInfo, first: usize) -> Result<Rc<Merged>, Failure> {
    // SAFETY: the caller vouches for the arguments.
    unsafe {
        let rule_text = argument::bytes(fcinfo, first).ok_or_else(|| argument::null("rule"))?;
        let [is_edit, is_each] =
            [1, 2].map(|place| argument::datum(fcinfo, first + place).is_some_and(|flag| flag.value() != 0));
        let [current, incoming] = [3, 4].map(|place| argument::datum(fcinfo, first + place));
        let (stamp, version) = (Stamp(argument::int8(fcinfo, first + 5).0), argument::int8(fcinfo, first + 7));
        let (stored, field) = (argument::bytes(fcinfo, first + 6), argument::int2(fcinfo, first + 8));
        let (flags, numbers) =
            ([u8::from(is_edit), u8::from(is_each)], [stamp.0.to_be_bytes(), version.0.to_be_bytes()]);
        let parts = [
            Some(rule_text),
            Some(&flags),
            current.map(|datum| plain_bytes(datum)),
            incoming.map(|datum| plain_bytes(datum)),
            stored,
            Some(numbers.as_flattened()),
        ];
        if let Some(last) = LAST.borrow().iter().find(|last| last.field == field && is_key(&last.made_of, &parts)) {
            return Ok(Rc::clone(last));
        }
        let made_of = key(&parts);
        let rule = rule(rule_text)?;
        let clock = clock::read(stored, version);
        let paths = clock.paths(field).map(clock::believed);
        let patch = Incoming { way: if is_edit { Way::Edit } else { Way::Put }, is_each, stamp };
        let values = [current, incoming];
        let made = match overlaid(&rule, values, patch, &paths) {
            Some(made) => made,
            None => by_texts(&rule, values, patch, paths)?,
        };
        let result = Rc::new(Merged { field, made_of, ..made });
        let mut last = LAST.borrow_mut();
        last.retain(|last| last.field != field);
        // A statement asks about all fields of a row, of which no table has more.
        if last.len() >= pg_sys::MaxHeapAttributeNumber as usize {
            last.clear();
        }
        last.push(Rc::clone(&result));
        Ok(result)
    }
}

/// A patch that is newer than all that is there, merged in the form that Postgres keeps documents in: nothing has to be
/// compared then, and no text made and read.
///
/// # Safety
/// Both values must be jsonb.
unsafe fn overlaid(
    rule: &DocumentRule,
    [current, incoming]: [Option<pg_sys::Datum>; 2],
    Incoming { is_each, stamp, .. }: Incoming,
    paths: &Paths,
) -> Option<Merged> {
    if is_each || !rule.members.is_empty() || stamp <= paths.newest() {
        return None;
    }
    // SAFETY: the caller vouches for the values.
    let patch = Object::of(unsafe { plain_bytes(incoming?) })?;
    // SAFETY: as above.
    let object = current.map_or(Some(jsonb::EMPTY), |current| Object::of(unsafe { plain_bytes(current) }))?;
    let overlay = object.overlaid(&patch, document::levels_of(rule))?;
    let mut paths = paths.clone();
    paths.overlay(stamp, overlay.covers, &overlay.leaves);
    Some(Merged { value: Some(Value::Bytes(overlay.bytes)), paths, is_applied: true, ..Merged::default() })
}

/// Merges documents as texts.
///
/// # Safety
/// Both values must be jsonb.
unsafe fn by_texts(
    rule: &DocumentRule,
    [current, incoming]: [Option<pg_sys::Datum>; 2],
    patch: Incoming,
    paths: Paths,
) -> Result<Merged, Failure> {
    // SAFETY: the caller vouches for the values.
    let [current, incoming] =
        [current, incoming].map(|datum| unsafe { datum.map(|datum| value::text_of_jsonb(datum)) });
    let parts = parts(incoming.unwrap_or("null"), patch.is_each, patch.stamp)?;
    let made = Merged { value: current.map(|text| Value::Text(text.to_owned())), paths, ..Merged::default() };
    made.with(rule, &parts, patch.way)
}

/// The patches that a document's value stands for, each with its stamp; `stamp` is that of one without, and the time.
fn parts(incoming: &str, is_each: bool, stamp: Stamp) -> Result<Vec<(Stamp, &str)>, Failure> {
    if !is_each {
        return Ok(vec![(stamp, incoming)]);
    }
    let parts = merge::dated_list(incoming).filter(|parts| !parts.is_empty());
    let mut parts = parts.ok_or_else(|| Failure::new(b"22023", "a document is no list of stamps and patches"))?;
    if parts.len() > PARTS_MAX {
        return Err(Failure::new(b"54000", format!("a document has more than {PARTS_MAX} patches in one")));
    }
    parts.iter_mut().for_each(|(of, _)| *of = Stamp(believed(of.0, stamp.0)));
    Ok(parts)
}

/// The document that patches make where there is none, with its stamps: the first creates it, the others follow.
fn fresh(rule: &DocumentRule, parts: &[(Stamp, &str)]) -> Result<Merged, Failure> {
    let [(stamp, first), rest @ ..] = parts else { return Ok(Merged::default()) };
    let value = document::fresh(rule, first).map(Value::Text);
    Merged { value, paths: Paths::all(*stamp), ..Merged::default() }.with(rule, rest, Way::Put)
}

impl Merged {
    /// The document, which is a text, with patches over it, one after the other.
    fn with(mut self, rule: &DocumentRule, parts: &[(Stamp, &str)], way: Way) -> Result<Merged, Failure> {
        for (stamp, patch) in parts {
            pgrx::check_for_interrupts!();
            let text = match &self.value {
                Some(Value::Text(text)) => Some(&**text),
                _ => None,
            };
            let merged = document::merge(rule, text, patch, way, *stamp, &mut self.paths)
                .map_err(|refused| Failure::new(b"22023", refused.to_string()))?;
            self.value = merged.text.map(Value::Text);
            self.is_applied |= merged.is_applied;
            self.is_lost |= merged.is_lost;
        }
        Ok(self)
    }

    /// The document as a jsonb, in memory of the current context.
    fn jsonb(&self) -> Result<Option<pg_sys::Datum>, Failure> {
        match &self.value {
            Some(Value::Bytes(bytes)) => Ok(Some(value::bytea(bytes))),
            Some(Value::Text(text)) => value::jsonb(text).map(Some),
            None => Ok(None),
        }
    }
}

/// Whether that is [`key`] of these parts.
fn is_key(key: &[u8], parts: &[Option<&[u8]>]) -> bool {
    let mut rest = Some(key);
    for part in parts {
        let length = part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes();
        let after = rest.and_then(|rest| rest.strip_prefix(&length));
        rest = after.and_then(|after| after.strip_prefix(part.unwrap_or_default()));
    }
    rest == Some(&[])
}

/// The parts as one, told apart by their lengths.
fn key(parts: &[Option<&[u8]>]) -> Vec<u8> {
    let mut key = Vec::with_capacity(parts.iter().flatten().map(|part| part.len() + 8).sum());
    for part in parts {
        key.extend_from_slice(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
        key.extend_from_slice(part.unwrap_or_default());
    }
    key
}

sql_functions! {
    /// `document_changes(rule, is_edit, is_each, current, incoming, stamp, clock, version, field) -> boolean`: whether
    /// the patch changes a value or a stamp.
    fn document_changes / pg_finfo_document_changes(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe { merged(fcinfo, 0).map(|merged| pg_sys::Datum::from(merged.is_applied)) }
    }

    /// `document_value(...) -> jsonb`: the document after the patch.
    fn document_value / pg_finfo_document_value(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe {
            Ok(answer::nullable(fcinfo, merged(fcinfo, 0)?.jsonb()?))
        }
    }

    /// `document_loses(...) -> boolean`: whether something in the patch is beaten by a later write.
    fn document_loses / pg_finfo_document_loses(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe { merged(fcinfo, 0).map(|merged| pg_sys::Datum::from(merged.is_lost)) }
    }

    /// `document_lost(field smallint) -> boolean`: for RETURNING, whether something in the patch that this UPDATE applied
    /// was beaten: the row's own triggers have run, but no other row was looked at.
    fn document_lost / pg_finfo_document_lost(fcinfo) {
        // SAFETY: the install script declares this argument.
        let field = unsafe { argument::int2(fcinfo, 0) };
        let is_lost = LAST.borrow().iter().any(|last| last.field == field && last.is_lost);
        Ok(pg_sys::Datum::from(is_lost))
    }

    /// `document_clock(marked bytea, ...) -> bytea`: a marked clock with the document's stamps after the patch; without one,
    /// the row's own clock is marked.
    fn document_clock / pg_finfo_document_clock(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe {
            let mut clock = match argument::bytes(fcinfo, 0) {
                Some(marked) => clock::read(Some(marked), Version::NONE),
                None => clock::read(argument::bytes(fcinfo, 7), argument::int8(fcinfo, 8)).map(clock::believed).marked(true),
            };
            let merged = merged(fcinfo, 1)?;
            clock.set_paths(merged.field, merged.paths.clone());
            clock.set(note_of(merged.field), DECIDED);
            Ok(value::bytea(&clock.encode()))
        }
    }

    /// `document_fresh(rule text, incoming jsonb, is_each boolean) -> jsonb`: the document that a patch makes where there
    /// is none.
    fn document_fresh / pg_finfo_document_fresh(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe {
            let rule = rule(argument::bytes(fcinfo, 0).ok_or_else(|| argument::null("rule"))?)?;
            let Some(incoming) = argument::datum(fcinfo, 1) else { return Ok(answer::nullable(fcinfo, None)) };
            let is_each = argument::datum(fcinfo, 2).is_some_and(|flag| flag.value() != 0);
            let parts = parts(value::text_of_jsonb(incoming), is_each, Stamp(i64::MAX))?;
            Ok(answer::nullable(fcinfo, fresh(&rule, &parts)?.jsonb()?))
        }
    }

    /// `document_clock_fresh(clock bytea, rule text, incoming jsonb, stamp bigint, field smallint) -> bytea`: a clock with the
    /// stamps of a document that patches of different times make where there is none; none of them is newer than `stamp`.
    fn document_clock_fresh / pg_finfo_document_clock_fresh(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe {
            let stored = argument::datum(fcinfo, 0).ok_or_else(|| argument::null("clock"))?;
            let rule = rule(argument::bytes(fcinfo, 1).ok_or_else(|| argument::null("rule"))?)?;
            let Some(incoming) = argument::datum(fcinfo, 2) else { return Ok(stored) };
            let parts = parts(value::text_of_jsonb(incoming), true, Stamp(argument::int8(fcinfo, 3).0))?;
            let mut clock = clock::read(Some(plain_bytes(stored)), Version::NONE);
            clock.set_paths(argument::int2(fcinfo, 4), fresh(&rule, &parts)?.paths);
            Ok(value::bytea(&clock.encode()))
        }
    }
}

/// The document's stamps after somebody changed it in another way than by a patch.
///
/// # Safety
/// Both values must be jsonb.
pub(crate) unsafe fn note_change(
    rule: &DocumentRule,
    [before, after]: [Option<pg_sys::Datum>; 2],
    stamp: Stamp,
    paths: &mut Paths,
) {
    // SAFETY: the caller vouches for the values.
    let [before, after] = [before, after].map(|datum| unsafe { datum.map(|datum| value::text_of_jsonb(datum)) });
    document::note_change(rule, before, after, stamp, paths);
}
