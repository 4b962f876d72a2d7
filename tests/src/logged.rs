//! What the SDK says in the log of this thread.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, OnceLock};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Dispatch, Event, Metadata, Subscriber};

/// Collects what is logged on this thread while it lives.
#[derive(Debug)]
pub struct Logged {
    collected: Arc<Mutex<Collected>>,
    _guard: DefaultGuard,
}

#[derive(Debug, Default)]
struct Collected {
    lines: Vec<String>,
    spans: Vec<String>,
}

impl Logged {
    /// From now on.
    pub fn start() -> Logged {
        // With one alone `tracing` asks the thread that comes by a place first whether anybody listens, and believes it for all.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        ANOTHER.get_or_init(|| Dispatch::new(Collect(Arc::default())));
        let collected = Arc::default();
        Logged { _guard: set_default(Collect(Arc::clone(&collected))), collected }
    }

    /// The lines so far, each its level and its fields, that have all these words in them.
    pub fn with(&self, words: &[&str]) -> Vec<String> {
        having(&self.collected.lock().expect("nobody panics while logging").lines, words)
    }

    /// The spans so far, each its level, its name, its fields and what was recorded since, that have all these words in them.
    pub fn spans_with(&self, words: &[&str]) -> Vec<String> {
        having(&self.collected.lock().expect("nobody panics while logging").spans, words)
    }
}

fn having(lines: &[String], words: &[&str]) -> Vec<String> {
    lines.iter().filter(|line| words.iter().all(|word| line.contains(word))).cloned().collect()
}

/// A span's number is its place in the list, from 1 on. Which one an event stands in, nobody asks.
struct Collect(Arc<Mutex<Collected>>);

impl Collect {
    fn change<T>(&self, change: impl FnOnce(&mut Collected) -> T) -> T {
        change(&mut self.0.lock().expect("nobody panics while logging"))
    }
}

impl Subscriber for Collect {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("cache_sync")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(format!("{} {}", span.metadata().level(), span.metadata().name()));
        span.record(&mut line);
        self.change(|collected| {
            collected.spans.push(line.0);
            Id::from_u64(collected.spans.len() as u64)
        })
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        self.change(|collected| collected.spans[span.into_u64() as usize - 1].push_str(&line.0));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.change(|collected| collected.lines.push(line.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}
