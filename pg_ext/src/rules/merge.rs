//! Rules as SQL meets them: their spelling, and what they do to two values.

use crate::call::function::sql_functions;
use crate::call::{answer, argument};
use crate::pg::failure::Failure;
use crate::pg::value::{self, plain_bytes};
use cache_sync_core::merge::{self, CannotMerge};
use cache_sync_core::rule::Rule;

fn rule(spelled: &str) -> Result<Rule, Failure> {
    serde_json::from_str(spelled).map_err(|error| {
        // Where in the text it stands says nothing about a jsonb.
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        Failure::new(b"22023", message)
            .hint("For example \"add\", {\"rule\": \"append\", \"cap\": 100}, {\"rule\": \"function\", \"name\": \"f(int,int)\"}.")
    })
}

sql_functions! {
    /// `spelled(rule jsonb) -> jsonb`: the one spelling of a rule; an error says what is wrong with others.
    fn spelled / pg_finfo_spelled(fcinfo) {
        // SAFETY: the install script declares this argument.
        unsafe {
            let spelled = argument::datum(fcinfo, 0).map_or("null", |rule| value::text_of_jsonb(rule));
            value::jsonb(&serde_json::to_string(&rule(spelled)?).unwrap_or_default())
        }
    }

    /// `merge_values(rule jsonb, current jsonb, incoming jsonb) -> jsonb`: null where only Postgres' own types can tell.
    fn merge_values / pg_finfo_merge_values(fcinfo) {
        // SAFETY: the install script declares these arguments.
        unsafe {
            let text = |place| argument::datum(fcinfo, place).map(|value| value::text_of_jsonb(value));
            let rule = rule(text(0).ok_or_else(|| argument::null("rule"))?)?;
            let merged = match merge::merge(&rule, text(1), text(2).unwrap_or("null")) {
                Ok(merged) => merged,
                Err(CannotMerge::OnlyPostgres(_)) => return Ok(answer::nullable(fcinfo, None)),
                Err(refused) => return Err(Failure::new(b"22023", refused.to_string())),
            };
            value::jsonb(&merged)
        }
    }

    /// `finite(change numeric) -> numeric`, strict: refuses what would leave no number behind, as the rule does elsewhere.
    fn finite / pg_finfo_finite(fcinfo) {
        // The first two bits of a numeric say so.
        const SPECIAL: u16 = 0xc000;
        // SAFETY: the install script declares this argument, which is of variable length.
        unsafe {
            let change = argument::datum(fcinfo, 0).ok_or_else(|| argument::null("change"))?;
            let header = plain_bytes(change).first_chunk().map_or(0, |header| u16::from_ne_bytes(*header));
            if header & SPECIAL == SPECIAL {
                return Err(Failure::new(b"22023", "the rule add needs a number, not NaN or an infinity"));
            }
            Ok(change)
        }
    }

    /// `not_null(value anyelement, function text) -> anyelement`: refuses what a function of the user's did not return.
    fn not_null / pg_finfo_not_null(fcinfo) {
        // SAFETY: the install script declares these arguments; a text is its bytes.
        unsafe {
            argument::datum(fcinfo, 0).ok_or_else(|| {
                let name = argument::bytes(fcinfo, 1).unwrap_or_default();
                Failure::new(b"22004", format!("the function {} returned null", String::from_utf8_lossy(name)))
            })
        }
    }
}
