//! Columns that are called like a role and hold something else: what is there, and what to do.

use anyhow::{Result, bail};

use super::column::Column;
use super::roles::fit_of_value;

/// What is wrong with a column, and what to do about it.
type Reason = fn(&Column) -> (String, String);

/// Refuses a column that is called as `known` has it and holds something else: without it, ratings with a decimal comma would be left out
/// and each row taken for a choice.
///
/// # Errors
/// Where there is one.
pub(super) fn refuse_unread(
    columns: &[Column],
    taken: &[usize],
    known: &[&str],
    role: &str,
    reason: Reason,
) -> Result<()> {
    let called = |(at, column): &(usize, &Column)| {
        !taken.contains(at) && column.distinct > 0 && fit_of_value(&column.name, known) == Some(3)
    };
    if let Some((_, column)) = columns.iter().enumerate().find(called) {
        let (what, help) = reason(column);
        bail!("column `{}` is called like a {role}, but it holds {what}\nhelp: {help}", column.name);
    }
    Ok(())
}

/// Why a column of ratings is not read.
pub(super) const UNREAD_RATING: Reason = |column| {
    let shown = column.shown();
    let (what, how) = if column.examples.iter().any(|value| is_decimal_comma(value)) {
        (format!("texts ({shown}), not numbers: write decimals with a point (4.5, not 4,5)"), String::new())
    } else if column.holds_some_numbers() {
        let (others, of) = column.others();
        let name = &column.name;
        (
            format!("numbers and, in {others} of {of} rows looked at, something else (the first values: {shown})"),
            format!("leave such rows out with `--columns rating={name}`, or "),
        )
    } else if column.distinct == 2 {
        (
            format!("texts ({shown}), not numbers"),
            "write 1 for the one that likes the item and 0 for the other, or ".to_owned(),
        )
    } else {
        (format!("texts ({shown}), not numbers"), "write them as numbers in their order (1, 2, 3, …), or ".to_owned())
    };
    (
        what,
        format!(
            "{how}correct the file; `--columns rating=` goes on without them: each row then is a choice, also a bad rating"
        ),
    )
};

/// Why a column of times is not read.
pub(super) const UNREAD_TIME: Reason = |column| {
    (
        format!(
            "{} ({}), not dates that are known: write them as 2021-01-31, or name their form in `ingest.table` (`timestamp: {{ column: …, \
             format: \"%d.%m.%Y\" }}`)",
            column.words(),
            column.shown()
        ),
        "correct the file, or go on without it: `--columns timestamp=`".to_owned(),
    )
};

fn is_decimal_comma(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(',').is_some_and(|(whole, part)| digits(whole.trim_start_matches('-')) && digits(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, values: &[&str]) -> String {
        let columns = [Column::new(name, values, false)];
        refuse_unread(&columns, &[], &["rating", "liked"], "rating", UNREAD_RATING).unwrap_err().to_string()
    }

    #[test]
    fn what_a_column_of_ratings_holds_decides_on_the_advice() {
        let comma = error("rating", &["4,5", "3,0", "2,5"]);
        assert!(comma.contains("(`4,5`, `3,0`, `2,5`), not numbers: write decimals with a point"), "{comma}");
        let truth = error("liked", &["true", "false", "true"]);
        assert!(truth.contains("holds texts (`true`, `false`)") && truth.contains("write 1 for the one"), "{truth}");
        let words = error("rating", &["good", "bad", "ok"]);
        assert!(words.contains("numbers in their order") && words.contains("each row then is a choice"), "{words}");
        let mixed = error("rating", &["4", "four", "5", "unknown"]);
        assert!(
            mixed.contains("numbers and, in 2 of 4 rows looked at, something else")
                && mixed.contains("`--columns rating=rating`"),
            "{mixed}"
        );
        assert!([&mixed, &truth, &words].iter().all(|text| !text.contains("point")));
    }
}
