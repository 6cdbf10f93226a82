//! Values of the command line as people write them.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};

use crate::home_dir::expand_tilde;

/// A path, in which `~` is the home also where no shell has put it there.
pub(super) fn place() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| expand_tilde(&path))
}

/// A role of a column of a log, and the column: `user=who`.
pub(super) fn column_role(text: &str) -> Result<(String, String), String> {
    const ROLES: [&str; 5] = ["user", "item", "rating", "amount", "timestamp"];
    match text.split_once('=') {
        Some((role, column)) if ROLES.contains(&role) => Ok((role.to_owned(), column.to_owned())),
        _ => Err(format!("wanted ROLE=COLUMN with a role of {}", ROLES.join(", "))),
    }
}

/// A column of a catalogue and what it is: `brand=categorical`.
pub(super) fn feature(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((column, kind)) if !column.is_empty() && !kind.is_empty() => Ok((column.to_owned(), kind.to_owned())),
        _ => Err("wanted COLUMN=KIND, such as `brand=categorical`".to_owned()),
    }
}

/// A finite number.
pub(super) fn rating(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|rating: &f32| rating.is_finite()).ok_or_else(|| "wanted a finite number".into())
}

/// Refuses the other side of a comparison, which has a command of its own.
pub(super) fn now_diff(_: &str) -> Result<Infallible, String> {
    Err("two files are compared by `apprentice diff A B`".into())
}

/// A whole number from 1.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&count| count > 0).ok_or_else(|| "wanted a whole number from 1".into())
}

/// `30d` and the like.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let unit = text.chars().last().unwrap_or_default();
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => 0,
    };
    let number = text.strip_suffix(unit).and_then(|number| number.parse::<u64>().ok());
    let seconds = number.filter(|_| seconds > 0).and_then(|number| number.checked_mul(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "wanted a number and `s`, `m`, `h`, `d` or `w`, such as `30d`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let seconds = |text| age(text).map(|age| age.as_secs()).ok();
        assert_eq!(["0s", "90m", "30d", "2w"].map(seconds), [0, 5400, 2_592_000, 1_209_600].map(Some));
        assert_eq!(["", "d", "30", "-1d", "3 d", "1.5h", "30ü", "99999999999999999999d"].map(seconds), [None; 8]);
    }
}
