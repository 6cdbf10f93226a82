//! The wall clock, for records of runs. Nothing that reaches a key or an object may use it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, NaiveDateTime};

/// Now, in UTC.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn now() -> Duration {
    crate::failpoints::now(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// How records write a time: `2025-01-31T12:00:00Z`.
const FORMAT: &str = "%Y-%m-%dT%H:%M:%SZ";

/// `2025-01-31T12:00:00Z`.
pub(crate) fn timestamp(since_1970: Duration) -> String {
    let seconds = i64::try_from(since_1970.as_secs()).ok();
    let time = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).unwrap_or_default();
    time.format(FORMAT).to_string()
}

/// The time that [`timestamp`] wrote.
pub(crate) fn parse(timestamp: &str) -> Option<Duration> {
    let time = NaiveDateTime::parse_from_str(timestamp, FORMAT).ok()?;
    Some(Duration::from_secs(u64::try_from(time.and_utc().timestamp()).ok()?))
}

/// The name of this machine, as its records call it.
pub(crate) fn host() -> String {
    let file = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let env = || ["HOSTNAME", "COMPUTERNAME", "HOST"].iter().find_map(|name| std::env::var(name).ok());
    file.map(|text| text.trim().to_owned()).or_else(env).unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        let at = |seconds| timestamp(Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn what_was_written_can_be_read() {
        for day in 0..60_000 {
            let time = Duration::from_secs(day * 86_400 + day % 86_400);
            assert_eq!(parse(&timestamp(time)), Some(time), "{}", timestamp(time));
        }
        for wrong in ["", "2025-02-30T00:00:00Z", "2025-00-01T00:00:00Z", "yesterday, at about noon"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
