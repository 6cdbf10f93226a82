//! What a person reads: lines and short tables, for a terminal or as Markdown.

use anyhow::Result;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use pipeline::UsageError;
use pipeline::inspect::Format as Style;

use super::escape::markdown;

/// Width when there is no terminal to ask.
const WIDTH: u16 = 120;
/// A line under the header and no other.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Where it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputStyle {
    /// A terminal, so many columns wide.
    Terminal(u16),
    Markdown,
}

impl OutputStyle {
    /// The terminal that standard output is.
    pub fn terminal() -> Self {
        Self::Terminal(Table::new().width().unwrap_or(WIDTH))
    }
}

/// The text written so far. What goes in is safe for a terminal already; the page makes it safe for its medium.
pub(super) struct TextOutput {
    pub text: String,
    output_style: OutputStyle,
}

impl TextOutput {
    pub fn new(output_style: OutputStyle) -> Self {
        Self { text: String::new(), output_style }
    }

    /// The first line of the page.
    pub fn title(&mut self, line: &str) {
        match self.output_style {
            OutputStyle::Terminal(_) => self.line(line),
            OutputStyle::Markdown => self.text.push_str(&format!("# {}\n", markdown(line))),
        }
    }

    pub fn line(&mut self, line: &str) {
        match self.output_style {
            OutputStyle::Terminal(_) => self.text.push_str(line.trim_end()),
            // Each a paragraph: lines in a row would flow together.
            OutputStyle::Markdown => self.text.push_str(&format!("\n{}", markdown(line.trim()))),
        }
        self.text.push('\n');
    }

    /// The title of what follows.
    pub fn heading(&mut self, title: &str) {
        match self.output_style {
            OutputStyle::Terminal(_) => self.text.push_str(&format!("\n{title}\n")),
            OutputStyle::Markdown => self.text.push_str(&format!("\n## {}\n", markdown(title))),
        }
    }

    /// A table under a title. `right` names the columns that hold numbers. A table too wide for a terminal is folded: the
    /// first column is repeated before each group of the others. A table of nothing is left out.
    pub fn table(&mut self, title: &str, header: &[&str], right: &[&str], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        self.heading(title);
        match self.output_style {
            OutputStyle::Terminal(width) => self.folded(usize::from(width), header, right, rows),
            OutputStyle::Markdown => {
                self.text.push('\n');
                self.text.push_str(&markdown_header(header, right));
                rows.iter().for_each(|row| self.text.push_str(&markdown_row(row)));
            }
        }
    }

    fn folded(&mut self, width: usize, header: &[&str], right: &[&str], rows: &[Vec<String>]) {
        let built = |wanted: &[usize]| {
            let mut table = Table::new();
            table.force_no_tty().load_style(STYLE).set_header(wanted.iter().map(|&column| header[column]));
            table.add_rows(rows.iter().map(|row| wanted.iter().map(|&column| row[column].as_str())));
            for (place, &column) in wanted.iter().enumerate() {
                if let Some(column) = table.column_mut(place).filter(|_| right.contains(&header[column])) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
            table
        };
        let all: Vec<usize> = (0..header.len()).collect();
        // One column of padding on either side, and one between.
        let widths: Vec<_> =
            built(&all).column_max_content_widths().iter().map(|&width| usize::from(width) + 3).collect();
        let mut rest = &all[1..];
        loop {
            let mut used = widths[0];
            let fitting = rest.iter().take_while(|&&column| {
                used += widths[column];
                used <= width
            });
            let (now, later) = rest.split_at(fitting.count().max(1).min(rest.len()));
            self.line(&built(&[&all[..1], now].concat()).trim_fmt());
            if later.is_empty() {
                return;
            }
            rest = later;
            self.line("");
        }
    }
}

/// The first two lines of a table in Markdown.
pub(super) fn markdown_header(header: &[&str], right: &[&str]) -> String {
    let names: Vec<String> = header.iter().map(ToString::to_string).collect();
    let rule: Vec<_> = header.iter().map(|name| if right.contains(name) { "---:" } else { "---" }).collect();
    format!("{}| {} |\n", markdown_row(&names), rule.join(" | "))
}

/// A line of a table in Markdown.
pub(super) fn markdown_row(cells: &[String]) -> String {
    let cells: Vec<_> = cells.iter().map(|cell| markdown(cell)).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// `1 row`, `2,000 rows`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Digits in groups of three.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Where text is read; `None` for JSON.
pub(super) fn output_style(format: Style) -> Result<Option<OutputStyle>> {
    match format {
        Style::Table => Ok(Some(OutputStyle::terminal())),
        Style::Md => Ok(Some(OutputStyle::Markdown)),
        Style::Json => Ok(None),
        Style::Csv | Style::Ndjson => Err(UsageError(format!("{format} holds rows and nothing else")).into()),
    }
}

/// For an error about a column that is not there.
pub(super) fn known(names: &[&str]) -> String {
    if names.is_empty() {
        return "the file has no columns".into();
    }
    let shown: Vec<_> = names.iter().take(NAMES).map(|name| pipeline::escape::shown(name, 80)).collect();
    let more = names.len().saturating_sub(NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("the columns are {}{more}", shown.join(", "))
}

/// Names that an error lists.
const NAMES: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_table_is_folded_under_its_first_column() {
        let mut page = TextOutput::new(OutputStyle::Terminal(20));
        let row: Vec<_> = ["row", "1", "22222222", "日本語日本語日本語日本語"].map(String::from).into();
        page.table("Title", &["name", "a", "b", "c"], &["b"], &[row]);
        let wanted = "
Title
 name   a
──────────
 row    1

 name          b
─────────────────
 row    22222222

 name   c
─────────────────────────────────
 row    日本語日本語日本語日本語
";
        assert_eq!(page.text, wanted, "\n{}", page.text);
    }

    #[test]
    fn a_table_of_nothing_is_left_out() {
        for output_style in [OutputStyle::Terminal(20), OutputStyle::Markdown] {
            let mut page = TextOutput::new(output_style);
            page.table("Title", &["name"], &[], &[]);
            assert_eq!(page.text, "");
        }
    }

    #[test]
    fn markdown_has_titles_paragraphs_and_tables() {
        let mut page = TextOutput::new(OutputStyle::Markdown);
        page.title("x_y: Parquet");
        page.line(" one line");
        page.table("Columns", &["name", "rows"], &["rows"], &[vec!["a|b".into(), "3".into()]]);
        let wanted = "# x\\_y: Parquet\n\none line\n\n## Columns\n\n| name | rows |\n| --- | ---: |\n| a\\|b | 3 |\n";
        assert_eq!(page.text, wanted);
    }

    #[test]
    fn numbers_are_grouped_and_nouns_agree() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((counted(1, "row"), counted(2000, "row")), ("1 row".into(), "2,000 rows".into()));
    }
}
