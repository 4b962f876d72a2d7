//! Logs of processes that may have been killed.

/// A log without its last line if that lacks its end: it was being written when the process was killed, so what it tells of had not been
/// written down.
pub(crate) fn whole(log: &str) -> impl Iterator<Item = &str> {
    log[..log.rfind('\n').map_or(0, |end| end + 1)].lines()
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn a_torn_line_is_left_out() {
        assert_eq!(whole("one\ntwo\nthr").collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(whole("one\n").chain(whole("tor")).chain(whole("")).collect::<Vec<_>>(), ["one"]);
    }
}
