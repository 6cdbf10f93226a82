//! Texts of an experiment file: scalars, numbers, shares, paths.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

/// A text as a YAML scalar that is read as that text, also within braces.
pub(super) fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    // A JSON string is a YAML scalar in double quotes.
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

/// A text, a list of texts or nothing as YAML on one line.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(values) => format!("[{}]", values.iter().map(flow).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// `104,822`.
pub(super) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `104,822 rows`.
pub(super) fn counted(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `1,048 (1.0 %)`.
pub(super) fn share(part: usize, whole: usize) -> String {
    format!("{} ({:.1} %)", count(part), 100.0 * part as f64 / whole.max(1) as f64)
}

/// `20 (2.0 %) rows repeat a user and an item`.
pub(super) fn repeats(part: usize, whole: usize) -> String {
    format!("{} {} a user and an item", share(part, whole), if part == 1 { "row repeats" } else { "rows repeat" })
}

/// `--log ../x.csv` as the experiment in `folder` names it; an absolute path stays one.
pub(super) fn path_from(folder: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() {
        return path.to_path_buf();
    }
    let real =
        |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_path_buf());
    // The file itself may be a link, whose name counts.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let to = path.file_name().map_or_else(|| real(path), |name| real(parent).join(name));
    let from = real(folder);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_texts() {
        for (text, wanted) in [
            ("userId", "userId"),
            ("my-log.csv", "my-log.csv"),
            ("user id", "\"user id\""),
            ("1", "\"1\""),
            ("Yes", "\"Yes\""),
            ("a: {b}, #", "\"a: {b}, #\""),
            ("\"x\"", r#""\"x\"""#),
            ("", "\"\""),
        ] {
            assert_eq!(scalar(text), wanted);
        }
        assert_eq!((count(0), count(999), count(1_048_576)), ("0".into(), "999".into(), "1,048,576".into()));
        assert_eq!(share(1048, 104_822), "1,048 (1.0 %)");
        assert_eq!(repeats(1, 50), "1 (2.0 %) row repeats a user and an item");
        assert_eq!([0, 1, 2].map(|number| counted(number, "row")), ["0 rows", "1 row", "2 rows"]);
    }

    #[test]
    fn a_path_begins_at_the_experiment() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        let absolute = folder.path().join("x.csv");
        assert_eq!(path_from(folder.path(), &absolute), absolute);
        let here = std::env::current_dir().unwrap();
        assert_eq!(path_from(Path::new("."), Path::new("x.csv")), Path::new("x.csv"));
        assert_eq!(
            path_from(here.parent().unwrap(), Path::new("x.csv")),
            Path::new(here.file_name().unwrap()).join("x.csv")
        );
        assert_eq!(path_from(Path::new("src"), Path::new("./x.csv")), Path::new("../x.csv"));
    }
}
