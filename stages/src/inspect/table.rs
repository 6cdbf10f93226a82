//! A description as text: what it is, and short tables.

use super::escape::{self, CELL};
use super::text_output::{OutputStyle, TextOutput, counted, grouped};
use super::value::{CellValue, six_digits};
use super::{
    ArrowLayout, ColumnDescription, Content, Description, Distinct, Format, NumberSummary, ParquetLayout,
    TableDescription, TensorDescription, TextSummary, Values,
};

/// Characters of a metadata value on the screen.
const METADATA: usize = 80;

/// The whole description.
pub(super) fn render(description: &Description, output_style: OutputStyle) -> String {
    let mut page = TextOutput::new(output_style);
    page.title(&first_line(&description.file, description.format, description.bytes));
    match &description.content {
        Content::Parquet { table, layout } => {
            page.line(&parquet_line(table, layout));
            matching(&mut page, table);
            metadata(&mut page, description);
            columns(&mut page, table);
            storage(&mut page, layout);
            head(&mut page, table);
        }
        Content::Arrow { table, layout } => {
            page.line(&arrow_line(table, layout));
            matching(&mut page, table);
            metadata(&mut page, description);
            columns(&mut page, table);
            head(&mut page, table);
        }
        Content::Table { table, files } => {
            let files = if *files == 1 { String::new() } else { format!(" in {}", counted(*files as u64, "file")) };
            let width = counted(table.columns.len() as u64, "column");
            page.line(&format!("{}{files}, {width}", counted(table.rows, "row")));
            matching(&mut page, table);
            columns(&mut page, table);
            head(&mut page, table);
        }
        Content::Safetensors { tensors: all, scanned } => {
            let values: u64 = all.iter().map(|tensor| tensor.count).sum();
            page.line(&format!("{}, {}", counted(all.len() as u64, "tensor"), counted(values, "value")));
            metadata(&mut page, description);
            tensors(&mut page, all, *scanned);
        }
        Content::Html { title } => {
            let title = title.as_deref().unwrap_or("untitled");
            page.line(&format!("a page for a browser: {}", escape::shown(title, METADATA)));
        }
    }
    page.text
}

/// The name, format and size of a file.
pub(super) fn first_line(file: &str, format: Format, bytes: u64) -> String {
    format!("{}: {}, {} bytes", escape::shown(file, usize::MAX), format.noun(), grouped(bytes))
}

/// How many rows a filter left.
fn matching(page: &mut TextOutput, table: &TableDescription) {
    if let Some(matching) = table.matching {
        let pass = if matching == 1 { "passes the filter" } else { "pass the filter" };
        page.line(&format!(
            "{} {pass}: what follows is about {}",
            counted(matching, "row"),
            if matching == 1 { "it" } else { "them" }
        ));
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

fn metadata(page: &mut TextOutput, description: &Description) {
    let row = |(key, value): (&String, &String)| vec![escape::shown(key, CELL), escape::shown(value, METADATA)];
    let rows: Vec<_> = description.metadata.iter().map(row).collect();
    page.table("Metadata", &["key", "value"], &[], &rows);
}

fn columns(page: &mut TextOutput, table: &TableDescription) {
    if !table.scanned {
        return unread_columns(page, table);
    }
    let rows = table.columns.iter().filter_map(|column| {
        let statistics = column.statistics.as_ref()?;
        let distinct = statistics.distinct.map_or("–".into(), distinct);
        let mut row = schema(column);
        row.extend([grouped(statistics.nulls), distinct]);
        Some(row)
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

fn schema(column: &ColumnDescription) -> Vec<String> {
    let nullable = if column.nullable { "yes" } else { "no" };
    vec![name(column), escape::shown(&column.r#type, CELL), nullable.into()]
}

/// The columns of a table that was not scanned, with what a footer says of them.
fn unread_columns(page: &mut TextOutput, table: &TableDescription) {
    if table.columns.iter().all(|column| column.footer.is_none()) {
        let rows: Vec<_> = table.columns.iter().map(schema).collect();
        page.table("Columns", &["column", "type", "nullable"], &[], &rows);
        page.line(" The values were not read: `--scan` reads them all, for statistics.");
        return;
    }
    let rows = table.columns.iter().map(|column| {
        let mut row = schema(column);
        row.extend(match &column.footer {
            Some(footer) => [footer.nulls.map_or("–".into(), grouped), bound(&footer.min), bound(&footer.max)],
            None => ["–".into(), "–".into(), "–".into()],
        });
        row
    });
    let rows: Vec<_> = rows.collect();
    page.table("Columns", &["column", "type", "nullable", "nulls", "min", "max"], &["nulls", "min", "max"], &rows);
    page.line(" Nulls, min and max are the footer's; the values were not read.");
    page.line(" `--scan` reads them all, for distinct values, quantiles and histograms.");
}

/// A smallest or largest value.
pub(super) fn bound(cell: &CellValue) -> String {
    match cell {
        CellValue::Text(text) => escape::shown(text, CELL / 2),
        _ => shown(cell),
    }
}

fn numbers(page: &mut TextOutput, title: &str, table: &TableDescription, pick: fn(&Values) -> Option<&NumberSummary>) {
    let picked = || {
        table.columns.iter().filter_map(|column| Some((column, pick(column.statistics.as_ref()?.values.as_ref()?)?)))
    };
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

fn texts(page: &mut TextOutput, table: &TableDescription) {
    let cut = |text: &Option<String>| text.as_ref().map_or("–".into(), |text| escape::shown(text, CELL / 2));
    let rows = table.columns.iter().filter_map(|column| match values(column)? {
        Values::Texts(texts) => Some(vec![name(column), cut(&texts.min), cut(&texts.max), top(texts)]),
        Values::Flags(flags) => {
            let (yes, no) = (grouped(flags.r#true), grouped(flags.r#false));
            let edge = |cell: CellValue| if cell == CellValue::Null { "–".into() } else { cell.text() };
            let (min, max) = (edge(CellValue::Flag(flags.r#false == 0)), edge(CellValue::Flag(flags.r#true > 0)));
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

fn storage(page: &mut TextOutput, layout: &ParquetLayout) {
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

fn head(page: &mut TextOutput, table: &TableDescription) {
    let names: Vec<_> = std::iter::once(String::new()).chain(table.columns.iter().map(name)).collect();
    let header: Vec<_> = names.iter().map(String::as_str).collect();
    let row = |(number, cells): (&u64, &Vec<CellValue>)| {
        let cells = cells.iter().map(|cell| escape::cut(&cell.text(), CELL));
        std::iter::once(number.to_string()).chain(cells).collect()
    };
    let rows: Vec<_> = table.head.numbers.iter().zip(&table.head.rows).map(row).collect();
    let shown = rows.len() as u64;
    let (of, kind) = table.matching.map_or((table.rows, "row"), |matching| (matching, "matching row"));
    let title = match table.head.seed {
        _ if shown == of => format!("All {kind}s"),
        Some(seed) => format!("{shown} of {} drawn at random, seed {seed}", counted(of, kind)),
        None if table.head.from_end => format!("Last {shown} of {}", counted(of, kind)),
        None => format!("First {shown} of {}", counted(of, kind)),
    };
    let numbers = table.columns.iter().filter(|column| is_number(&column.r#type)).map(name);
    let numbers: Vec<_> = numbers.collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    page.table(&title, &header, &numbers, &rows);
}

/// Whether the values of a column of this type stand in a table by their last digits.
pub(super) fn is_number(kind: &str) -> bool {
    ["Int", "UInt", "Float", "Decimal"].iter().any(|start| kind.starts_with(start)) && !kind.starts_with("Interval")
}

fn values(column: &ColumnDescription) -> Option<&Values> {
    column.statistics.as_ref()?.values.as_ref()
}

fn tensors(page: &mut TextOutput, all: &[TensorDescription], scanned: bool) {
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
    let columns = if scanned { header.len() } else { 4 };
    let rows = all.iter().map(row).map(|row| row[..columns].to_vec());
    page.table("Tensors", &header[..columns], &header[3..7], &rows.collect::<Vec<_>>());
    if !scanned {
        page.line(" The values were not read: `--scan` reads them all, for statistics.");
    }
    for tensor in all {
        if let Some(summary) = tensor.statistics.as_ref().filter(|_| tensor.finite == Some(false)) {
            let (nan, infinite) = (grouped(summary.nan), grouped(summary.infinite));
            let name = escape::shown(&tensor.name, CELL * 2);
            page.line(&format!(" {name}: {nan} NaN and {infinite} infinite, left out above"));
        }
    }
    for tensor in all {
        if let Some(texts) = &tensor.texts {
            let first: Vec<String> = texts.first.iter().map(|text| escape::shown(text, CELL)).collect();
            let (name, count) = (escape::shown(&tensor.name, CELL * 2), counted(texts.count as u64, "text"));
            page.line(&format!(" {name}: {count}, the first of them {}", first.join(", ")));
        }
    }
}

fn name(column: &ColumnDescription) -> String {
    escape::shown(&column.name, CELL)
}

fn bars(summary: &NumberSummary) -> String {
    summary.histogram.as_ref().map_or("–".into(), super::Histogram::bars)
}

pub(super) fn shown(cell: &CellValue) -> String {
    match cell {
        CellValue::Null => "–".into(),
        CellValue::Real(value) => six_digits(*value),
        _ => cell.text(),
    }
}

pub(super) fn distinct(distinct: Distinct) -> String {
    format!("{}{}", if distinct.exact { "" } else { "> " }, grouped(distinct.count))
}

#[cfg(test)]
mod tests {
    use super::*;

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
