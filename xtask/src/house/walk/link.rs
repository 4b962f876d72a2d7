//! Whether each step of a walk is reached from another.

use super::super::calls::Call;
use super::super::functions::Function;
use super::text::Walk;

/// The steps that hang loose or come in another order than the code has, and why.
pub(crate) fn check(walk: &Walk, functions: &[&Function]) -> Vec<(usize, String)> {
    let mut wrong = Vec::new();
    for at in 1..functions.len() {
        let name = &walk.steps[at].function;
        let linked = |&other: &usize| {
            let (here, there) = (functions[at], functions[other]);
            calls(there, here).next().is_some() || calls(here, there).next().is_some()
        };
        if walk.steps[at - 1].waits {
            if !(at + 1..functions.len()).any(|other| linked(&other)) {
                wrong.push((at, format!("{name} and the steps after it do not call each other")));
            }
        } else if !(0..at).any(|other| linked(&other)) {
            wrong.push((at, format!("{name} and the steps before it do not call each other")));
        } else if let Some(earlier) = (0..at).find(|&earlier| is_called_later(functions, earlier, at)) {
            wrong.push((at, format!("{name} is called before {}", walk.steps[earlier].function)));
        }
    }
    wrong
}

/// Whether a step before both calls `earlier`, but only after all its calls of `later`.
fn is_called_later(functions: &[&Function], earlier: usize, later: usize) -> bool {
    functions[..earlier].iter().any(|caller| {
        let first = calls(caller, functions[earlier]).map(|call| call.place).min();
        let last = calls(caller, functions[later]).map(|call| call.place).max();
        first.zip(last).is_some_and(|(first, last)| last < first)
    })
}

/// The calls in `caller` that may be calls of `callee`, by name.
fn calls<'a>(caller: &'a Function, callee: &'a Function) -> impl Iterator<Item = &'a Call> {
    caller.calls.iter().filter(move |call| {
        let qualifier = call.qualifier.as_deref();
        let fits = match &callee.owner {
            None => !call.is_method && !qualifier.is_some_and(|word| word.starts_with(char::is_uppercase)),
            Some(_) if call.is_method => true,
            Some(owner) => {
                let is_own = qualifier == Some("Self") && caller.owner == callee.owner;
                is_own || qualifier == Some(owner) || qualifier.is_some() && qualifier == callee.of_trait.as_deref()
            }
        };
        fits && call.name == callee.name
    })
}
