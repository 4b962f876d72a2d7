//! What a browser carries from request to request.

use cache_sync::{Error, Token};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far a node must have come for whoever carries this; and until when a write of his may be further still. Written as `1f-2a`, `1f-2a.6745231a` or
/// `.6745231a`: the token, and the second in which the mark ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) token: Option<Token>,
    /// In seconds since 1970, by the clock of the node that has made the mark; who reads it goes by its own.
    behind_until: Option<u64>,
}

impl Seen {
    /// Of somebody all of whose writes come before the token.
    pub(crate) fn all_before(token: Token) -> Seen {
        Seen { token: Some(token), behind_until: None }
    }

    /// Something that he has written may come after the token: that is said for so long.
    pub(crate) fn behind_for(self, time: Duration) -> Seen {
        let until = now().saturating_add(time).as_secs_f64().ceil() as u64;
        Seen { behind_until: self.behind_until.max(Some(until)), ..self }
    }

    /// Whatever clock has made the mark, and whoever: it lasts no longer than those that are made here.
    pub(crate) fn at_most(self, time: Duration) -> Seen {
        let longest = Seen::default().behind_for(time).behind_until;
        Seen { behind_until: self.behind_until.min(longest), ..self }
    }

    /// What was seen before counts on: another node may be the one that has not written everything.
    pub(crate) fn after(self, before: Seen) -> Seen {
        Seen { token: self.token.or(before.token), behind_until: self.behind_until.max(before.behind_until) }
    }

    /// Whether an answer may lack something, although the node has come as far as the token.
    pub(crate) fn is_behind(self) -> bool {
        self.behind_until.is_some()
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(token) = self.token {
            token.fmt(f)?;
        }
        self.behind_until.map_or(Ok(()), |until| write!(f, ".{until:x}"))
    }
}

/// It is not what [`Display`](fmt::Display) has written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotSeen;

impl From<Error> for NotSeen {
    fn from(_: Error) -> NotSeen {
        NotSeen
    }
}

impl FromStr for Seen {
    type Err = NotSeen;

    /// A mark that has ended is none.
    fn from_str(text: &str) -> Result<Seen, NotSeen> {
        let Some((token, until)) = text.split_once('.') else { return Ok(Seen::all_before(text.parse()?)) };
        let token = if token.is_empty() { None } else { Some(token.parse()?) };
        let is_hex = until.bytes().all(|digit| digit.is_ascii_hexdigit());
        let until = is_hex.then(|| u64::from_str_radix(until, 16).ok()).flatten().ok_or(NotSeen)?;
        Ok(Seen { token, behind_until: Some(until).filter(|until| *until > now().as_secs()) })
    }
}

#[cfg(test)]
mod tests {
    use super::{NotSeen, Seen, now};
    use std::time::Duration;

    fn seen(text: &str) -> Seen {
        text.parse().unwrap_or_else(|NotSeen| panic!("{text}"))
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let token = seen("1f-2a");
        for seen in
            [token, token.behind_for(Duration::from_secs(60)), Seen::default().behind_for(Duration::from_secs(60))]
        {
            assert_eq!(seen.to_string().parse(), Ok(seen));
        }
        for other in ["", ".", "1f", "1f-", "1f-2a.", "1f-2a.x", "1f-2a.+1", "1f-2a.1.2", "x.1", ".11111111111111111"] {
            assert_eq!(other.parse::<Seen>(), Err(NotSeen), "{other}");
        }
    }

    #[test]
    fn a_mark_lasts_as_long_as_it_was_made_for_and_no_longer() {
        let marked = seen("1f-2a").behind_for(Duration::from_millis(1500));
        assert!(marked.is_behind());
        let left = marked.behind_until.expect("a mark") - now().as_secs();
        assert!((1..=3).contains(&left), "{left}");
        assert_eq!(seen(&format!("1f-2a.{:x}", now().as_secs())), seen("1f-2a"));
    }

    /// The clock of the node that has made it may be days ahead, and anybody can write one.
    #[test]
    fn a_mark_of_another_clock_ends_here_too() {
        let long = Duration::from_secs(60);
        let (here, far) = (Seen::default().behind_for(long), seen("1f-2a.ffffffffffffffff"));
        let capped = far.at_most(long);
        assert!(capped.is_behind() && capped.token == far.token);
        assert!(capped.behind_until <= Seen::default().behind_for(long).behind_until);
        assert!(capped.behind_until >= here.behind_until);
        assert_eq!(seen("1f-2a").at_most(long), seen("1f-2a"));
    }

    #[test]
    fn a_later_token_takes_over_the_mark() {
        let marked = seen("1f-2a").behind_for(Duration::from_secs(60));
        let later = seen("1f-30").after(marked);
        assert_eq!((later.token, later.behind_until), (seen("1f-30").token, marked.behind_until));
        assert_eq!(Seen::default().after(marked), marked);
        assert_eq!(seen("1f-30").after(seen("1f-2a")), seen("1f-30"));
    }
}
