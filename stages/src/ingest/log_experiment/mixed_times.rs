//! Times of which a part is of another form: where the first of those stands, and what to do. Without this, a log with some bad dates would
//! be taken for one without times, and one in two units would lose the rows of one of them.

use super::column::Column;
use super::role_names::{ITEM, TIME, USER, fit_of_value, is_called};

/// The first column that holds times for the most part, and too many others beside them; none where another column holds times. Of a column
/// that the user names (`said`), only dates whose form is open count: rows of other forms are left out then.
pub(super) fn mixed(columns: &[Column], said: Option<&str>) -> Option<usize> {
    if let Some(said) = said {
        return columns.iter().position(|column| column.name == said && column.times.date_forms.len() > 1);
    }
    if columns.iter().any(Column::holds_times) {
        return None;
    }
    let is_mixed = |column: &Column| {
        let called = fit_of_value(&column.name, TIME).is_some();
        let is_id = [USER, ITEM].iter().any(|known| is_called(&column.name, known));
        column.holds_mixed_dates() && !is_id || column.holds_mixed_units() && called
    };
    columns.iter().position(is_mixed)
}

/// What is wrong with it, and what to do; `first_bad` says which rows have no time and names the first of them.
pub(super) fn refusal(column: &Column, first_bad: impl FnOnce() -> Option<String>) -> String {
    let name = &column.name;
    let without = "`--columns timestamp=` goes on without times";
    if let ([first, second, ..], false) = (&column.times.date_forms[..], column.holds_mixed_units()) {
        return format!(
            "column `{name}` holds dates whose form is open: {} can be read as `{first}` and as `{second}`\nhelp: write them as 2021-01-31, or \
             {without}: then write `timestamp: {{ column: {name}, format: \"{first}\" }}` with the right form below `log` by hand",
            column.shown()
        );
    }
    let found = first_bad().map(|found| format!(": {found}")).unwrap_or_default();
    if column.holds_mixed_dates() {
        return format!(
            "column `{name}` holds dates in {} of {} rows looked at, and something else in the others{found}\nhelp: correct these, or leave \
             their rows out with `--columns timestamp={name}`; {without}",
            column.times.dates,
            column.filled()
        );
    }
    let [(own, most), (other, few)] = column.times.units;
    format!(
        "column `{name}` holds times in two units: of {} rows looked at {most} are plausible as {own} and {few} as {other}{found}\nhelp: write \
         all in one unit; {without}",
        column.filled()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(table: &[(&str, &[&str])]) -> Vec<Column> {
        table.iter().map(|(name, values)| Column::new(name, values, false)).collect()
    }

    #[test]
    fn times_in_part_are_found_and_said() {
        let torn: &[&str] = &["2021-01-01", "yesterday", "2021-01-02"];
        let units: &[&str] = &["1609459200", "1609459200000", "1609459201"];
        let text = |name: &str, values: &[&str]| {
            let columns = columns(&[("user", &["a"]), (name, values)]);
            mixed(&columns, None).map(|at| refusal(&columns[at], || Some("the first: line 3".to_owned())))
        };
        let found = text("seen", torn).unwrap();
        assert!(
            found.contains("`seen` holds dates in 2 of 3 rows looked at, and something else in the others: the first: line 3\nhelp: ")
                && found.contains("`--columns timestamp=seen`"),
            "{found}"
        );
        let found = text("time", units).unwrap();
        assert!(
            found.contains("of 3 rows looked at 2 are plausible as seconds and 1 as milliseconds: the first"),
            "{found}"
        );
        let found = text("date", &["03/04/2021", "05/06/2021"]).unwrap();
        assert!(found.contains("`03/04/2021`, `05/06/2021` can be read as `%d/%m/%Y` and as `%m/%d/%Y`"), "{found}");
        assert_eq!(text("phone", units), None, "numbers of another name");
        assert_eq!(text("item", torn), None, "an id");
        let two = columns(&[("seen", torn), ("at", &["2021-01-01"])]);
        assert_eq!(mixed(&two, None), None, "another column has times");
        let open: [(&str, &[&str]); 2] = [("seen", torn), ("date", &["03/04/2021", "05/06/2021"])];
        let said = |name| mixed(&columns(&open), Some(name));
        assert_eq!([said("seen"), said("date"), said("")], [None, Some(1), None]);
    }
}
