//! Makes the triggers of attached tables, and listens to what others do to such tables.

use super::books::refuse_others;
use crate::call::argument::{self, argument};
use crate::call::function::sql_functions;
use crate::pg::failure::Failure;
use crate::pg::owner::as_owner;
use crate::pg::sqlstate;
use pgrx::{Spi, pg_sys};
use std::ffi::CString;

// Most DDL concerns no attached table, and must not depend on the ring. What there is to tell is noted by functions that need it.
sql_functions! { without ring:
    /// `create_trigger(tbl regclass, name name, proc regproc, fires text, each text, table_id integer)`: as CREATE TRIGGER, and
    /// ENABLE ALWAYS from the start, for the table's owner and the functions of the extension's own triggers.
    fn create_trigger / pg_finfo_create_trigger(fcinfo) {
        sqlstate::preserving(|| {
            // SAFETY: the install script declares these arguments, and the function STRICT.
            let (table, name, proc, fires, each, id) = unsafe {
                let table: pg_sys::Oid = argument(fcinfo, 0).ok_or_else(|| argument::null("tbl"))?;
                let name: &std::ffi::CStr = argument(fcinfo, 1).ok_or_else(|| argument::null("name"))?;
                let proc: pg_sys::Oid = argument(fcinfo, 2).ok_or_else(|| argument::null("proc"))?;
                let fires: String = argument(fcinfo, 3).ok_or_else(|| argument::null("fires"))?;
                let each: String = argument(fcinfo, 4).ok_or_else(|| argument::null("each"))?;
                let id: i32 = argument(fcinfo, 5).ok_or_else(|| argument::null("table_id"))?;
                (table, name, proc, fires, each, id)
            };
            refuse_others(table)?;
            refuse_other_functions(proc)?;
            let events = [
                ("INSERT", pg_sys::TRIGGER_TYPE_INSERT),
                ("UPDATE", pg_sys::TRIGGER_TYPE_UPDATE),
                ("DELETE", pg_sys::TRIGGER_TYPE_DELETE),
                ("TRUNCATE", pg_sys::TRIGGER_TYPE_TRUNCATE),
            ];
            let events = events.iter().filter(|(word, _)| fires.contains(word)).fold(0, |all, (_, event)| all | event);
            if events == 0 {
                return Err(Failure::new(b"22023", "a trigger needs an event"));
            }
            let timing = if fires.starts_with("BEFORE") { pg_sys::TRIGGER_TYPE_BEFORE } else { 0 };
            // SAFETY: a statement as the parser makes them, in memory that lives as long as the call: the table and the function are
            // given by oid, the argument is a list of one string. Postgres checks the caller's rights and makes the trigger of the
            // partitions, too. What comes next in this transaction must see it.
            unsafe {
                let id = CString::new(id.to_string()).unwrap_or_default();
                let mut statement = pg_sys::CreateTrigStmt {
                    type_: pg_sys::NodeTag::T_CreateTrigStmt,
                    replace: true,
                    trigname: name.as_ptr().cast_mut(),
                    args: pg_sys::lappend(std::ptr::null_mut(), pg_sys::makeString(pg_sys::pstrdup(id.as_ptr())).cast()),
                    row: each == "ROW",
                    timing: timing as i16,
                    events: events as i16,
                    ..Default::default()
                };
                let none = pg_sys::InvalidOid;
                pg_sys::CreateTriggerFiringOn(
                    &raw mut statement,
                    c"".as_ptr(),
                    table,
                    none,
                    none,
                    none,
                    proc,
                    none,
                    std::ptr::null_mut(),
                    false,
                    false,
                    pg_sys::TRIGGER_FIRES_ALWAYS as std::ffi::c_char,
                );
                pg_sys::CommandCounterIncrement();
            }
            Ok(pg_sys::Datum::from(0))
        })
    }

    /// `is_own(xid xid) -> boolean`, strict: whether it is the number of this transaction, or of one of its savepoints.
    fn is_own / pg_finfo_is_own(fcinfo) {
        // SAFETY: the install script declares this argument; the transaction's own numbers are looked up in the backend.
        unsafe {
            let xid = argument::datum(fcinfo, 0).ok_or_else(|| argument::null("xid"))?;
            Ok(pg_sys::Datum::from(pg_sys::TransactionIdIsCurrentTransactionId(pg_sys::TransactionId::from(xid.value() as u32))))
        }
    }

    /// `note_alter() -> event_trigger`, before a table is altered: has noted what it is too late for afterwards. Which table that is, and
    /// what is to become of it, only the parsed statement says.
    fn note_alter / pg_finfo_note_alter(fcinfo) {
        // SAFETY: Postgres calls this function with a call it has filled in.
        let (altered, loses_concurrently) = unsafe {
            let statement = statement(fcinfo)?;
            (altered(statement), loses_concurrently(statement))
        };
        if altered != pg_sys::InvalidOid {
            let text = "SELECT cache_sync_internal.note_altering($1, $2)";
            as_owner(|| Spi::run_with_args(text, &[altered.into(), loses_concurrently.into()]))?
                .map_err(|error| Failure::new(b"XX000", error.to_string()))?;
        }
        Ok(pg_sys::Datum::from(0))
    }
}

/// A trigger that fires always runs in replication, too, with the rights of whoever applies it. The functions of ours are the only ones
/// of the extension's for triggers that stand in its first schema.
fn refuse_other_functions(proc: pg_sys::Oid) -> Result<(), Failure> {
    // SAFETY: looks names and memberships up in the system catalogs, and the schema and type of a function that is there.
    let is_ours = unsafe {
        let extension = pg_sys::get_extension_oid(c"cache_sync".as_ptr(), false);
        !pg_sys::get_func_name(proc).is_null()
            && pg_sys::get_func_rettype(proc) == pg_sys::TRIGGEROID
            && pg_sys::get_func_namespace(proc) == pg_sys::get_namespace_oid(c"cache_sync".as_ptr(), false)
            && pg_sys::getExtensionOfObject(pg_sys::ProcedureRelationId, proc) == extension
    };
    if is_ours { Ok(()) } else { Err(Failure::new(b"42P17", "that is no function of cache_sync's triggers")) }
}

/// The statement that an event trigger is called for.
///
/// # Safety
/// `fcinfo` must be what Postgres called a function with.
unsafe fn statement(fcinfo: pg_sys::FunctionCallInfo) -> Result<*mut pg_sys::Node, Failure> {
    // SAFETY: the caller vouches for `fcinfo`. A context that is not null is a node and says which.
    unsafe {
        let context = (*fcinfo).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_EventTriggerData {
            return Err(Failure::new(b"39P03", "this function can only be called by an event trigger of cache_sync"));
        }
        Ok((*context.cast::<pg_sys::EventTriggerData>()).parsetree)
    }
}

/// The table that is about to be altered; none where the statement names no single one, or none that is there.
///
/// # Safety
/// It must be a parsed statement.
unsafe fn altered(statement: *mut pg_sys::Node) -> pg_sys::Oid {
    // SAFETY: a parsed statement is a node and says which. The name is looked up as the statement itself will do, with the caller's
    // search_path and rights, and without a lock.
    unsafe {
        let relation = match (*statement).type_ {
            pg_sys::NodeTag::T_AlterTableStmt => (*statement.cast::<pg_sys::AlterTableStmt>()).relation,
            pg_sys::NodeTag::T_RenameStmt => (*statement.cast::<pg_sys::RenameStmt>()).relation,
            _ => std::ptr::null_mut(),
        };
        if relation.is_null() {
            return pg_sys::InvalidOid;
        }
        let missing_ok = pg_sys::RVROption::RVR_MISSING_OK;
        pg_sys::RangeVarGetRelidExtended(relation, pg_sys::NoLock as i32, missing_ok, None, std::ptr::null_mut())
    }
}

/// Whether the table is to lose a partition in several transactions, of which this is the first: `DETACH PARTITION ... CONCURRENTLY`
/// stands alone in its statement.
///
/// # Safety
/// It must be a parsed statement.
unsafe fn loses_concurrently(statement: *mut pg_sys::Node) -> bool {
    // SAFETY: a parsed statement is a node and says which, as are its commands; that one has a PartitionCmd.
    unsafe {
        if (*statement).type_ != pg_sys::NodeTag::T_AlterTableStmt {
            return false;
        }
        let commands = (*statement.cast::<pg_sys::AlterTableStmt>()).cmds;
        if commands.is_null() {
            return false;
        }
        let command = (*(*commands).elements).ptr_value.cast::<pg_sys::AlterTableCmd>();
        (*command).subtype == pg_sys::AlterTableType::AT_DetachPartition
            && (*(*command).def.cast::<pg_sys::PartitionCmd>()).concurrent
    }
}
