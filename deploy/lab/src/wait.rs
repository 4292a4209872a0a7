//! Waiting: always for a condition, always with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a look at the condition is put off. Short, because tests are made of waits.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks `look` until it has an answer. After `deadline` the error says what was waited for.
#[expect(clippy::disallowed_methods, reason = "the one place of the lab that knows the clock")]
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = look().map_err(|e| e.context(format!("while waiting for {what}")))? {
            return Ok(answer);
        }
        if deadline <= start.elapsed() {
            bail!("waited {deadline:?} in vain for {what}");
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks `look` until it is true.
pub fn wait_until(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_for(what, deadline, || Ok(look()?.then_some(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_the_wait_and_a_deadline_names_what_was_missed() {
        let mut looks = 0;
        let third = wait_for("the third look", Duration::from_secs(5), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(third.unwrap(), 3);
        let late = wait_until("the moon", Duration::from_millis(1), || Ok(false)).unwrap_err();
        assert_eq!(late.to_string(), "waited 1ms in vain for the moon");
        let broken = wait_until("the moon", Duration::from_secs(5), || bail!("no sky")).unwrap_err();
        assert_eq!(format!("{broken:#}"), "while waiting for the moon: no sky");
    }
}
