//! Columns that are called like a role and hold something else: what is there, and what to do.

use anyhow::{Result, bail};

use super::column::Column;
use super::role_names::{AMOUNT, RATING, fit_of_value};

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

/// Refuses a column of ratings or amounts with commas that may stand before fractions or between thousands: `found`, or where none was found
/// one that is called so.
///
/// # Errors
/// Where there is one.
pub(super) fn refuse_commas(columns: &[Column], taken: &[usize], found: Option<usize>) -> Result<()> {
    let is_open = |(at, column): &(usize, &Column)| {
        let called = [RATING, AMOUNT].iter().any(|known| fit_of_value(&column.name, known).is_some());
        let asked = found.map_or(!taken.contains(at) && called, |found| *at == found);
        asked && column.with_commas > 0 && !column.decimal_comma && column.holds_numbers_with_commas()
    };
    if let Some((_, column)) = columns.iter().enumerate().find(is_open) {
        bail!(
            "column `{}` holds numbers with commas ({}), of which it is open whether they stand before fractions or between \
             thousands\nhelp: write 4.5 or, in all rows, 4,5, and 1234 instead of 1,234; `--columns rating=` goes on without the column: each \
             row then is a choice, also a bad rating",
            column.name,
            column.shown()
        );
    }
    Ok(())
}

/// Why a column of ratings is not read.
pub(super) const UNREAD_RATING: Reason = |column| {
    let shown = column.shown();
    let (what, how) = if column.holds_some_numbers() {
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
            "{} ({}), not times that are known: dates as 2021-01-31 or 31.01.2021, or numbers since 1970",
            column.words(),
            column.shown()
        ),
        format!(
            "correct the file, or go on without times: `--columns timestamp=`; any other form of dates is then named by hand below `log`, as \
             `timestamp: {{ column: {}, format: \"%m/%d/%Y\" }}`",
            column.name
        ),
    )
};

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, values: &[&str]) -> String {
        let columns = [Column::new(name, values, false)];
        refuse_unread(&columns, &[], &["rating", "liked"], "rating", UNREAD_RATING).unwrap_err().to_string()
    }

    #[test]
    fn what_a_column_of_ratings_holds_decides_on_the_advice() {
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
    }

    #[test]
    fn commas_that_may_be_either_are_refused_and_decimal_ones_are_not() {
        let refused = |name: &str, values: &[&str]| {
            refuse_commas(&[Column::new(name, values, false)], &[], None).err().map(|error| error.to_string())
        };
        for (name, values) in
            [("rating", &["4,5", "4.5"][..]), ("plays", &["1,234", "12", "9"]), ("stars", &["1,234,567"])]
        {
            let error = refused(name, values).unwrap();
            assert!(
                error.contains(&format!("column `{name}` holds numbers with commas")) && error.contains("\nhelp: "),
                "{error}"
            );
        }
        for (name, values) in [("rating", &["4,5", "3"][..]), ("tags", &["1,234"]), ("plays", &["3", "12"])] {
            assert_eq!(refused(name, values), None, "{name}");
        }
        let few = [vec!["3"; 99], vec!["1,234"]].concat();
        let columns = [Column::new("n", &few, false)];
        assert!(
            columns[0].holds_numbers() && refuse_commas(&columns, &[], Some(0)).is_err(),
            "the largest would be left out"
        );
    }
}
