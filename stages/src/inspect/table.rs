//! A description as text: short tables that fit the terminal.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use super::cell::{Cell, six_digits};
use super::escape::{self, CELL};
use super::{
    ArrowLayout, ColumnDescription, Content, Description, Distinct, Format, NumberSummary, ParquetLayout,
    TableDescription, TensorDescription, TextSummary, Values,
};

/// Width when there is no terminal to ask.
const WIDTH: u16 = 120;
/// Characters of a metadata value on the screen.
const METADATA: usize = 80;
/// A line under the header and no other.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// The width of the terminal that standard output is.
pub(super) fn terminal_width() -> u16 {
    Table::new().width().unwrap_or(WIDTH)
}

/// The whole description in at most `width` columns, where names and values are short enough for that.
pub(super) fn render(description: &Description, width: u16) -> String {
    let mut page = Page { text: String::new(), width };
    let format = match description.format {
        Format::Parquet => "Parquet",
        Format::Arrow => "Arrow IPC file",
        Format::Safetensors => "safetensors",
        Format::Html => "HTML",
    };
    let bytes = grouped(description.bytes);
    page.line(&format!("{}: {format}, {bytes} bytes", escape::shown(&description.file, usize::MAX)));
    match &description.content {
        Content::Parquet { table, layout } => {
            page.line(&parquet_line(table, layout));
            metadata(&mut page, description);
            columns(&mut page, table);
            storage(&mut page, layout);
            head(&mut page, table);
        }
        Content::Arrow { table, layout } => {
            page.line(&arrow_line(table, layout));
            metadata(&mut page, description);
            columns(&mut page, table);
            head(&mut page, table);
        }
        Content::Safetensors { tensors: all } => {
            let values: u64 = all.iter().map(|tensor| tensor.count).sum();
            page.line(&format!("{}, {}", counted(all.len() as u64, "tensor"), counted(values, "value")));
            metadata(&mut page, description);
            tensors(&mut page, all);
        }
        Content::Html { title } => {
            let title = title.as_deref().unwrap_or("untitled");
            page.line(&format!("a page for a browser: {}", escape::shown(title, METADATA)));
        }
    }
    page.text
}

/// The text written so far.
struct Page {
    text: String,
    width: u16,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A table under a title. `right` names the columns that hold numbers. A table too wide for the page is folded: the
    /// first column is repeated before each group of the others.
    fn table(&mut self, title: &str, header: &[&str], right: &[&str], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        self.line("");
        self.line(title);
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
                used <= usize::from(self.width)
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

fn parquet_line(table: &TableDescription, layout: &ParquetLayout) -> String {
    let groups = counted(layout.row_groups.len() as u64, "row group");
    let largest = layout.row_groups.iter().map(|group| group.rows).max().filter(|&largest| largest < table.rows);
    let groups = groups + &largest.map_or(String::new(), |largest| format!(" of at most {}", grouped(largest)));
    let by = layout.created_by.as_ref().map_or(String::new(), |by| format!(", written by {}", escape::shown(by, CELL)));
    format!("{} in {groups}, {}{by}", counted(table.rows, "row"), counted(table.columns.len() as u64, "column"))
}

fn arrow_line(table: &TableDescription, layout: &ArrowLayout) -> String {
    let batches = if layout.batches == 1 { "1 batch".into() } else { format!("{} batches", layout.batches) };
    let columns = counted(table.columns.len() as u64, "column");
    let encoded: Vec<_> = layout.dictionaries.iter().map(|name| escape::shown(name, CELL)).collect();
    let encoded = if encoded.is_empty() { String::new() } else { format!(", as dictionary: {}", encoded.join(", ")) };
    format!("{} in {batches}, {columns}{encoded}", counted(table.rows, "row"))
}

fn metadata(page: &mut Page, description: &Description) {
    let row = |(key, value): (&String, &String)| vec![escape::shown(key, CELL), escape::shown(value, METADATA)];
    let rows: Vec<_> = description.metadata.iter().map(row).collect();
    page.table("Metadata", &["key", "value"], &[], &rows);
}

fn columns(page: &mut Page, table: &TableDescription) {
    let rows = table.columns.iter().map(|column| {
        let distinct = column.statistics.distinct.map_or("–".into(), distinct);
        let nullable = if column.nullable { "yes" } else { "no" };
        vec![
            name(column),
            escape::shown(&column.r#type, CELL),
            nullable.into(),
            grouped(column.statistics.nulls),
            distinct,
        ]
    });
    let rows: Vec<_> = rows.collect();
    page.table("Columns", &["column", "type", "nullable", "nulls", "distinct"], &["nulls", "distinct"], &rows);

    numbers(page, "Numbers", table, |values| match values {
        Values::Numbers(summary) => Some(summary),
        _ => None,
    });
    numbers(page, "Moments", table, |values| match values {
        Values::Moments(summary) => Some(summary),
        _ => None,
    });
    numbers(page, "Lengths", table, |values| match values {
        Values::Lengths(summary) => Some(summary),
        _ => None,
    });
    texts(page, table);
}

const SUMMARY: [&str; 8] = ["column", "min", "25 %", "50 %", "75 %", "max", "mean", "histogram"];

fn numbers(page: &mut Page, title: &str, table: &TableDescription, pick: fn(&Values) -> Option<&NumberSummary>) {
    let picked = || table.columns.iter().filter_map(|column| Some((column, pick(column.statistics.values.as_ref()?)?)));
    let row = |(column, summary): (&ColumnDescription, &NumberSummary)| {
        let q = &summary.quantiles;
        let cells = [&summary.min, &q.q25, &q.q50, &q.q75, &summary.max, &summary.mean].map(shown);
        [vec![name(column)], cells.to_vec(), vec![bars(summary)]].concat()
    };
    page.table(title, &SUMMARY, &SUMMARY[1..7], &picked().map(row).collect::<Vec<_>>());
    for (column, summary) in picked() {
        if summary.nan + summary.infinite > 0 {
            let (nan, infinite) = (grouped(summary.nan), grouped(summary.infinite));
            page.line(&format!(" {}: {nan} NaN and {infinite} infinite, left out above", name(column)));
        }
        if let Some(sampled) = summary.sampled {
            let (sampled, count) = (grouped(sampled), grouped(summary.count));
            page.line(&format!(" {}: quantiles and histogram from a sample of {sampled} of {count}", name(column)));
        }
    }
}

fn texts(page: &mut Page, table: &TableDescription) {
    let cut = |text: &Option<String>| text.as_ref().map_or("–".into(), |text| escape::shown(text, CELL / 2));
    let rows = table.columns.iter().filter_map(|column| match column.statistics.values.as_ref()? {
        Values::Texts(texts) => Some(vec![name(column), cut(&texts.min), cut(&texts.max), top(texts)]),
        Values::Flags(flags) => {
            let (yes, no) = (grouped(flags.r#true), grouped(flags.r#false));
            let edge = |cell: Cell| if cell == Cell::Null { "–".into() } else { cell.text() };
            let (min, max) = (edge(column.statistics.min()), edge(column.statistics.max()));
            Some(vec![name(column), min, max, format!("true × {yes}, false × {no}")])
        }
        _ => None,
    });
    let rows: Vec<_> = rows.collect();
    page.table("Texts and flags", &["column", "min", "max", "most frequent"], &[], &rows);
}

fn top(texts: &TextSummary) -> String {
    let least = if texts.top_exact { "" } else { "≥ " };
    let part =
        |(value, count): (&String, u64)| format!("{} × {least}{}", escape::shown(value, CELL / 2), grouped(count));
    // When every value stands alone, the "most frequent" are no more than the first in the alphabet.
    let repeated = texts.top.iter().filter(|frequent| frequent.count > 1).take(3);
    let parts: Vec<_> = repeated.map(|frequent| part((&frequent.value, frequent.count))).collect();
    if parts.is_empty() { "–".into() } else { parts.join(", ") }
}

fn storage(page: &mut Page, layout: &ParquetLayout) {
    let rows = layout.columns.iter().map(|column| {
        let joined = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
        let ratio = column.uncompressed_bytes as f64 / column.compressed_bytes as f64;
        vec![
            escape::shown(&column.path, CELL),
            column.stored_as.clone(),
            joined(&column.compression),
            joined(&column.encodings),
            grouped(column.compressed_bytes),
            grouped(column.uncompressed_bytes),
            if ratio.is_finite() { format!("{ratio:.2}") } else { "–".into() },
        ]
    });
    let rows: Vec<_> = rows.collect();
    let header = ["column", "stored as", "compression", "encodings", "bytes", "uncompressed", "ratio"];
    page.table("Storage", &header, &header[4..], &rows);
}

fn head(page: &mut Page, table: &TableDescription) {
    let shown = table.head.rows.len() as u64;
    let names: Vec<_> = std::iter::once(String::new()).chain(table.columns.iter().map(name)).collect();
    let header: Vec<_> = names.iter().map(String::as_str).collect();
    let row = |(row, cells): (usize, &Vec<Cell>)| {
        let cells = cells.iter().map(|cell| escape::cut(&cell.text(), CELL));
        std::iter::once(row.to_string()).chain(cells).collect()
    };
    let rows: Vec<_> = table.head.rows.iter().enumerate().map(row).collect();
    let title =
        if shown == table.rows { "All rows".into() } else { format!("First {shown} of {} rows", grouped(table.rows)) };
    let numbers = table.columns.iter().filter(|column| matches!(column.statistics.values, Some(Values::Numbers(_))));
    let numbers: Vec<_> = numbers.map(name).collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    page.table(&title, &header, &numbers, &rows);
}

fn tensors(page: &mut Page, all: &[TensorDescription]) {
    let row = |tensor: &TensorDescription| {
        let of = |pick: fn(&NumberSummary) -> String| tensor.statistics.as_ref().map_or("–".into(), pick);
        vec![
            escape::shown(&tensor.name, CELL * 2),
            tensor.dtype.clone(),
            format!("{:?}", tensor.shape),
            grouped(tensor.count),
            of(|summary| shown(&summary.min)),
            of(|summary| shown(&summary.max)),
            of(|summary| shown(&summary.mean)),
            tensor.finite.map_or("–", |finite| if finite { "yes" } else { "NO" }).into(),
            of(bars),
        ]
    };
    let header = ["tensor", "dtype", "shape", "values", "min", "max", "mean", "finite", "histogram"];
    page.table("Tensors", &header, &header[3..7], &all.iter().map(row).collect::<Vec<_>>());
    for tensor in all {
        if let Some(summary) = tensor.statistics.as_ref().filter(|_| tensor.finite == Some(false)) {
            let (nan, infinite) = (grouped(summary.nan), grouped(summary.infinite));
            let name = escape::shown(&tensor.name, CELL * 2);
            page.line(&format!(" {name}: {nan} NaN and {infinite} infinite, left out above"));
        }
    }
}

fn name(column: &ColumnDescription) -> String {
    escape::shown(&column.name, CELL)
}

fn bars(summary: &NumberSummary) -> String {
    summary.histogram.as_ref().map_or("–".into(), super::Histogram::bars)
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Null => "–".into(),
        Cell::Real(value) => six_digits(*value),
        _ => cell.text(),
    }
}

fn distinct(distinct: Distinct) -> String {
    format!("{}{}", if distinct.exact { "" } else { "> " }, grouped(distinct.count))
}

/// `1 row`, `2,000 rows`.
fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Digits in groups of three.
fn grouped(value: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_table_is_folded_under_its_first_column() {
        let mut page = Page { text: String::new(), width: 20 };
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
        let mut page = Page { text: String::new(), width: 20 };
        page.table("Title", &["name"], &[], &[]);
        assert_eq!(page.text, "");
    }

    #[test]
    fn numbers_are_grouped_and_nouns_agree() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((counted(1, "row"), counted(2000, "row")), ("1 row".into(), "2,000 rows".into()));
    }

    #[test]
    fn values_that_stand_alone_are_not_called_frequent() {
        let frequent = |value: &str, count| super::super::Frequent { value: value.into(), count };
        let mut texts =
            TextSummary { min: None, max: None, top: vec![frequent("a", 1)], top_exact: true, top_missed: 0 };
        assert_eq!(top(&texts), "–");
        texts.top = vec![frequent("b\n", 2000), frequent("a", 1)];
        assert_eq!(top(&texts), "b\\n × 2,000");
        texts.top_exact = false;
        assert_eq!(top(&texts), "b\\n × ≥ 2,000");
    }
}
