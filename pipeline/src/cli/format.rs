//! Numbers as people read them.

pub(super) use crate::memory_need::bytes;

/// `0.08 s`, `12.3 s`, `3 min 20 s`, `2 h 05 min`.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.2} s"),
        s if s < 59.95 => format!("{s:.1} s"),
        s => {
            let whole = s.round() as u64;
            let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
            if hours > 0 { format!("{hours} h {minutes:02} min") } else { format!("{minutes} min {seconds:02} s") }
        }
    }
}

/// How fast something goes: `410 steps/s`, `2.35 epochs/s`; and where one unit takes longer than a second, `3 min 20 s/epoch`.
pub(super) fn pace(rate: f64, unit: &str) -> String {
    match rate {
        rate if rate >= 9.995 => format!("{rate:.0} {unit}/s"),
        rate if rate >= 1.0 => format!("{rate:.2} {unit}/s"),
        rate => format!("{}/{}", seconds(1.0 / rate), one(unit)),
    }
}

/// The name of one of many: `epoch` of `epochs`, `batch` of `batches`, `policy` of `policies`.
pub(super) fn one(units: &str) -> String {
    if let Some(stem) = units.strip_suffix("ies") {
        return format!("{stem}y");
    }
    let hisses = ["ches", "shes", "sses", "xes"].iter().any(|end| units.ends_with(end));
    let one = units.strip_suffix(if hisses { "es" } else { "s" }).unwrap_or(units);
    if one.is_empty() { "unit".into() } else { one.into() }
}

/// `1 stage`, `2 stages`.
pub(super) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Lines of cells in columns two spaces apart.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let gap = width - cell.chars().count() + 2;
            line += cell;
            line.extend(std::iter::repeat_n(' ', gap));
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(
            [0.004, 9.94, 9.96, 59.96, 200.0, 7500.0].map(seconds),
            ["0.00 s", "9.94 s", "10.0 s", "1 min 00 s", "3 min 20 s", "2 h 05 min"]
        );
        assert_eq!([0, 1023, 1536, 100 << 20].map(bytes), ["0 B", "1023 B", "1.5 KiB", "100.0 MiB"]);
        assert_eq!(
            [410.4, 9.995, 9.99, 1.0, 0.999, 0.004].map(|rate| pace(rate, "epochs")),
            ["410 epochs/s", "10 epochs/s", "9.99 epochs/s", "1.00 epochs/s", "1.00 s/epoch", "4 min 10 s/epoch"]
        );
        assert_eq!(
            ["epochs", "batches", "passes", "policies", "bytes", ""].map(one),
            ["epoch", "batch", "pass", "policy", "byte", "unit"]
        );
        assert_eq!((count(1, "hit"), count(0, "hit")), ("1 hit".into(), "0 hits".into()));
        assert_eq!(columns(&[vec!["a".into(), "b".into()], vec!["long".into()]]), "a     b\nlong\n");
    }
}
