//! The pause that a server requests.
//!
//! `Retry-After` is a number of seconds or a date (RFC 9110, 10.2.3); `retry-after-ms`, which some providers send beside it,
//! is finer. A date is compared with the server's own `Date`, so no clock has to be right.
//!
//! Not here: the two forms of dates that RFC 9110 calls obsolete.

use std::time::Duration;

use chrono::NaiveDateTime;
use ureq::http::HeaderMap;

/// None where the server requests none, or in another form.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name| text(name)?.parse::<f64>().ok();
    if let Some(milliseconds) = number("retry-after-ms") {
        return Duration::try_from_secs_f64(milliseconds / 1000.0).ok();
    }
    if let Some(seconds) = number("retry-after") {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let (then, now) = (seconds_of(text("retry-after")?)?, seconds_of(text("date")?)?);
    Some(Duration::from_secs(then.saturating_sub(now)))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as seconds since 1970.
fn seconds_of(date: &str) -> Option<u64> {
    let date = date.strip_suffix(" GMT")?;
    let time = NaiveDateTime::parse_from_str(date, "%a, %d %b %Y %H:%M:%S").ok()?;
    time.and_utc().timestamp().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(headers: &[(&'static str, &'static str)]) -> Option<f64> {
        let headers: HeaderMap =
            headers.iter().map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        retry_after(&headers).map(|pause| pause.as_secs_f64())
    }

    #[test]
    fn dates_by_hand() {
        assert_eq!(seconds_of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds_of("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds_of("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        for wrong in
            ["", "tomorrow", "Sun, 06 Nov 1994 08:49:37", "Sun, 99 Nov 1994 08:49:37 GMT", "a, 1 May 99 1:1:1 GMT"]
        {
            assert_eq!(seconds_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn seconds_milliseconds_and_dates() {
        assert_eq!(requested(&[("retry-after", " 7 ")]), Some(7.0));
        assert_eq!(requested(&[("retry-after", "7"), ("retry-after-ms", "250")]), Some(0.25));
        let now = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(requested(&[now, ("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT")]), Some(23.0));
        assert_eq!(requested(&[now, ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(0.0), "already over");
        for wrong in ["", "-3", "soon", "nan", "1e999"] {
            assert_eq!(requested(&[now, ("retry-after", wrong)]), None, "{wrong}");
        }
        assert_eq!(requested(&[]), None);
        assert_eq!(requested(&[("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT")]), None, "without the server's clock");
    }
}
