//! What is wrong, and what proves it.

use super::event::Nanos;

/// What histories are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A read shows what was confirmed before it began, less the bound, or says that it is in doubt.
    Bound,
    /// A read shows what was confirmed before its process last caught up.
    CaughtUp,
    /// No read goes back behind one that ended before it began.
    Monotone,
    /// A process sees what it wrote.
    OwnWrites,
    /// Nothing is shown that nobody wrote.
    OutOfNowhere,
    /// Each write stands in the row once.
    Conserved,
    /// Every receipt ends.
    Ends,
    /// What a cache shows is of one table.
    OneTable,
    /// When all is quiet, what is held is what is stored, and buffers are empty.
    Converged,
    /// A call failed for a reason that no fault explains.
    Unexpected,
    /// Memory and connections come back to what they were.
    Flat,
}

impl Rule {
    pub(crate) const ALL: [Rule; 11] = [
        Rule::Bound,
        Rule::CaughtUp,
        Rule::Monotone,
        Rule::OwnWrites,
        Rule::OutOfNowhere,
        Rule::Conserved,
        Rule::Ends,
        Rule::OneTable,
        Rule::Converged,
        Rule::Unexpected,
        Rule::Flat,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Rule::Bound => "bound",
            Rule::CaughtUp => "caught up",
            Rule::Monotone => "monotone reads",
            Rule::OwnWrites => "own writes",
            Rule::OutOfNowhere => "nothing out of nowhere",
            Rule::Conserved => "conservation",
            Rule::Ends => "every receipt ends",
            Rule::OneTable => "one table",
            Rule::Converged => "convergence",
            Rule::Unexpected => "no unexpected errors",
            Rule::Flat => "flat resources",
        }
    }
}

/// A rule that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    /// What was seen, and what should have been.
    pub(crate) what: String,
    /// The events that prove it, in the order of time.
    pub(crate) evidence: Vec<(Nanos, String)>,
}

impl Violation {
    pub(crate) fn new(rule: Rule, what: impl Into<String>) -> Violation {
        Violation { rule, what: what.into(), evidence: Vec::new() }
    }

    /// One more event that proves it.
    pub(crate) fn with(mut self, at: Nanos, event: impl std::fmt::Debug) -> Violation {
        self.evidence.push((at, format!("{event:?}")));
        self.evidence.sort_by_key(|(at, _)| *at);
        self
    }

    /// As it is printed; times count from `since`.
    pub(crate) fn text(&self, since: Nanos) -> String {
        let mut text = format!("VIOLATION of \"{}\": {}", self.rule.name(), self.what);
        for (at, event) in &self.evidence {
            text.push_str(&format!("\n    {:>10.3} ms  {event}", (at - since) as f64 / 1e6));
        }
        text
    }
}
