//! Where a request came from, as the services before have written it down
//! (<https://www.w3.org/TR/trace-context/#traceparent-header>).

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A `traceparent`: of it, the trace's id goes with a transaction, into its span and into `application_name`, so that
/// `pg_stat_activity` and the server's log lead to the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: u128,
    parent: u64,
    sampled: bool,
}

impl TraceParent {
    /// The trace: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl FromStr for TraceParent {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`] for what is no `traceparent`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("traceparent", "is not of the form 00-<32 digits>-<16 digits>-<2 digits>");
        let hexadecimal = |part: &str, digits: usize| {
            let fits = part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            fits.then(|| u128::from_str_radix(part, 16).ok()).flatten().ok_or_else(wrong)
        };
        let mut parts = text.trim().split('-');
        let mut part = |digits| parts.next().ok_or_else(wrong).and_then(|part| hexadecimal(part, digits));
        let (version, trace, parent, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // A later version may have more parts; the first has not.
        let ended = parts.next().is_none();
        if version == 0xff || (version == 0 && !ended) || trace == 0 || parent == 0 {
            return Err(wrong());
        }
        Ok(Self { trace, parent: u64::try_from(parent).map_err(|_| wrong())?, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.parent, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_traceparent_is_read_and_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parsed: TraceParent = text.parse().unwrap();
        assert_eq!(parsed.to_string(), text);
        assert_eq!(parsed.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        // A later version is read as far as it is known.
        assert!("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what".parse::<TraceParent>().is_ok());
    }

    #[rstest]
    #[case("")]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7")]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")]
    #[case("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    #[case("00-00000000000000000000000000000000-00f067aa0ba902b7-01")]
    #[case("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01")]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e473'-00f067aa0ba902b7-01")]
    fn what_is_none_is_refused(#[case] text: &str) {
        assert!(text.parse::<TraceParent>().is_err());
    }
}
