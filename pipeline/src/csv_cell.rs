//! A field of comma-separated values (RFC 4180), safe to be opened in a spreadsheet.

/// A text as a field. A spreadsheet takes what begins with `=`, `+`, `-`, `@`, a tab or a line end for a formula and runs it:
/// an apostrophe before it makes it a text.
#[must_use]
pub fn csv_cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if is_formula || text.contains([',', '"', '\n', '\r', ';']) || text.trim() != text {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::csv_cell;

    #[test]
    fn no_text_is_taken_for_a_formula_or_for_two_fields() {
        let cells =
            ["a2c", "a,b", "say \"no\"", "=1+1", "-1", "@SUM(A1)", "+x", "\t=x", "two\nlines", " led"].map(csv_cell);
        let wanted = [
            "a2c",
            "\"a,b\"",
            "\"say \"\"no\"\"\"",
            "\"'=1+1\"",
            "\"'-1\"",
            "\"'@SUM(A1)\"",
            "\"'+x\"",
            "\"'\t=x\"",
            "\"two\nlines\"",
            "\" led\"",
        ];
        assert_eq!(cells, wanted);
    }
}
