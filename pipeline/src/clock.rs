//! The wall clock, for records of runs. Nothing that reaches a key or an object may use it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, in UTC.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn now() -> Duration {
    crate::failpoints::now(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// `2025-01-31T12:00:00Z`.
pub(crate) fn timestamp(since_1970: Duration) -> String {
    let (days, second) = (since_1970.as_secs() / 86_400, since_1970.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// The time that [`timestamp`] wrote.
pub(crate) fn parse(timestamp: &str) -> Option<Duration> {
    let number = |from: usize, to: usize| timestamp.get(from..to)?.parse::<u64>().ok();
    let [year, month, day] = [number(0, 4)?, number(5, 7)?, number(8, 10)?];
    let [hour, minute, second] = [number(11, 13)?, number(14, 16)?, number(17, 19)?];
    // The way back of `civil`, by the same author's `days_from_civil`; a day that no calendar has does not come back.
    let from_march = year.checked_sub(u64::from(month <= 2))?;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day;
    let day_count = from_march * 365 + from_march / 4 - from_march / 100 + from_march / 400 + day_of_year;
    let days = day_count.checked_sub(719_469).filter(|&days| civil(days) == (year, month, day))?;
    Some(Duration::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

/// Days since 1970 as year, month, day (Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (year + era * 400 + u64::from(month <= 2), month, day)
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
