use super::super::fixture::Fixture;
use super::*;

const READ: &str = "\
# Design

```walk read
k/src/cache.rs       Cache::get
k/src/read/hit.rs    Hits::find
k/src/read/queue.rs  Queue::push    waits here
k/src/read/loader.rs run
k/src/pg/load.rs     load
```
";

const LOADER: &str = "fn run() { let keys = next(); crate::pg::load::load(keys); }";

fn findings(document: &str, changed: &[(&str, &str)]) -> Vec<String> {
    let mut files = vec![
        (DOCUMENT, document),
        ("k/src/cache.rs", "impl<K> Cache<K> { fn get(&self) { self.hits.find(); self.queue.push(1); } }"),
        ("k/src/read/hit.rs", "impl Hits { fn find(&self) {} }"),
        ("k/src/read/queue.rs", "impl Queue { fn push(&self, key: u8) {} }"),
        ("k/src/read/loader.rs", LOADER),
        ("k/src/pg/load.rs", "functions! { fn load / finfo(fcinfo) { other(fcinfo) } fn other / f(a) { 1 } }"),
    ];
    files.retain(|(file, _)| changed.iter().all(|(other, _)| file != other));
    files.extend(changed);
    check(Fixture::new(&files).root()).unwrap()
}

fn one_finding(document: &str, changed: &[(&str, &str)], expected: &str) {
    let found = findings(document, changed);
    assert!(found.len() == 1 && found[0].contains(expected), "{found:#?}");
}

#[test]
fn a_walk_as_the_code_goes() {
    assert!(findings(READ, &[]).is_empty());
    let other = READ.replace("load\n```", "load\nk/src/pg/load.rs other\n```");
    assert!(findings(&other, &[]).is_empty());
}

#[test]
fn a_function_that_is_not_there() {
    one_finding(&READ.replace("Cache::get", "Cache::read"), &[], "design.md:4: walk read: there is no Cache::read");
    one_finding(READ, &[("k/src/read/hit.rs", "#[cfg(test)] impl Hits { fn find(&self) {} }")], "no Hits::find");
    one_finding(&READ.replace("hit.rs ", "miss.rs "), &[], "there is no Hits::find in k/src/read/miss.rs");
}

#[test]
fn a_call_that_was_removed() {
    let cache = ("k/src/cache.rs", "impl Cache { fn get(&self) { self.queue.push(1); } }");
    one_finding(READ, &[cache], "Hits::find and the steps before it do not call each other");
    let loader = ("k/src/read/loader.rs", "fn run() { load.keys(); Load::load(); }");
    let found = findings(READ, &[loader]);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("run and the steps after it") && found[1].contains("load and the steps before it"));
}

#[test]
fn a_step_after_a_wait_stands_alone_without_the_mark() {
    one_finding(&READ.replace("    waits here", ""), &[], "run and the steps before it do not call each other");
}

#[test]
fn another_order_than_the_calls() {
    let cache = ("k/src/cache.rs", "impl Cache { fn get(&self) { self.queue.push(1); self.hits.find(); } }");
    one_finding(READ, &[cache], "Queue::push is called before Hits::find");
}

#[test]
fn a_folder_that_is_entered_twice() {
    let loader = "fn run() { load(); note(); }\nfn note() {}";
    let document = READ.replace("load\n```", "load\nk/src/read/loader.rs note\n```");
    one_finding(&document, &[("k/src/read/loader.rs", loader)], "k/read is entered again");
}

#[test]
fn a_line_that_is_no_step() {
    let found = findings(&READ.replace("waits here", "waits"), &[]);
    assert!(found[0].contains("design.md:6: walk read: a step reads"), "{found:#?}");
}
