//! What Postgres tells a function that it calls as a trigger.

use cache_sync_core::number::TableId;
use pgrx::pg_sys;

/// The trigger's data; `None` if the function is not called by a trigger.
///
/// # Safety
/// `fcinfo` must be what Postgres called a function with.
#[inline]
pub(crate) unsafe fn data(fcinfo: pg_sys::FunctionCallInfo) -> Option<*const pg_sys::TriggerData> {
    // SAFETY: the caller vouches for `fcinfo`; a context that is not null is a node and says which.
    unsafe {
        let context = (*fcinfo).context;
        let is_trigger = !context.is_null() && (*context).type_ == pg_sys::NodeTag::T_TriggerData;
        is_trigger.then(|| context.cast::<pg_sys::TriggerData>().cast_const())
    }
}

/// The table's number, from the argument of its triggers; `None` if somebody made a trigger without it.
///
/// # Safety
/// The trigger must be what Postgres gave a trigger function.
#[inline]
pub(crate) unsafe fn id_of(trigger: *const pg_sys::Trigger) -> Option<TableId> {
    // SAFETY: the caller vouches for the trigger; it has `tgnargs` strings.
    unsafe {
        if (*trigger).tgnargs < 1 {
            return None;
        }
        parse(*(*trigger).tgargs).map(TableId)
    }
}

/// The integer that a text is. By hand, since this runs for every row: `str::parse` wants its length and that it is UTF-8 first.
///
/// # Safety
/// The text must end with a zero.
#[inline]
unsafe fn parse(text: *const std::ffi::c_char) -> Option<i32> {
    // SAFETY: the caller vouches for the end, and nothing behind it is looked at.
    let byte = |place: usize| unsafe { *text.add(place) } as u8;
    let is_negative = byte(0) == b'-';
    let first = usize::from(is_negative);
    let (mut place, mut negated) = (first, 0_i32);
    while byte(place) != 0 {
        let digit = byte(place).wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // There is one more number below zero than above.
        negated = negated.checked_mul(10)?.checked_sub(i32::from(digit))?;
        place += 1;
    }
    if place == first {
        None
    } else if is_negative {
        Some(negated)
    } else {
        negated.checked_neg()
    }
}
