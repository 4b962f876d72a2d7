//! Waits until a condition holds.

use std::time::{Duration, Instant};

use crate::error::Result;

/// Whether a condition holds within `limit`; it is asked once every `pause`, and once more when the time is over.
///
/// # Errors
/// It cannot be told whether it holds.
#[cfg(feature = "async")]
pub async fn until(limit: Duration, pause: Duration, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + limit;
    while !holds().await? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
    }
    Ok(true)
}

/// The same where nothing else of the process's has to go on meanwhile.
///
/// # Errors
/// It cannot be told whether it holds.
pub fn until_blocking(limit: Duration, pause: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<bool> {
    let deadline = Instant::now() + limit;
    while !holds()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        std::thread::sleep(pause);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(1);

    #[test]
    fn ends_when_it_holds_fails_or_the_time_is_over() {
        let mut asked = 0;
        let mut third_time = || {
            asked += 1;
            Ok(asked == 3)
        };
        assert!(until_blocking(Duration::from_secs(60), PAUSE, &mut third_time).unwrap());
        assert_eq!(asked, 3);
        assert!(!until_blocking(5 * PAUSE, PAUSE, || Ok(false)).unwrap());
        assert!(until_blocking(Duration::from_secs(60), PAUSE, || Err("no".into())).is_err());
    }

    #[cfg(feature = "async")]
    #[tokio::test]
    async fn the_same_without_blocking() {
        let mut asked = 0;
        let third_time = async || {
            asked += 1;
            Ok(asked == 3)
        };
        assert!(until(Duration::from_secs(60), PAUSE, third_time).await.unwrap());
        assert!(!until(5 * PAUSE, PAUSE, async || Ok(false)).await.unwrap());
        assert!(until(Duration::from_secs(60), PAUSE, async || Err("no".into())).await.is_err());
    }
}
