//! serde's messages in the words of a person who writes YAML.

/// The name in backticks after `start`, when the message begins so.
pub(crate) fn quoted_after(message: &str, start: &str) -> Option<String> {
    let (name, _) = message.strip_prefix(start)?.strip_prefix('`')?.split_once('`')?;
    Some(name.to_owned())
}

/// The names of ``…, expected one of `a`, `b` ``.
pub(crate) fn expected_names(message: &str) -> Vec<String> {
    let Some((_, list)) = message.rsplit_once(", expected ") else { return Vec::new() };
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether the message says that a choice (an enum) was expected.
pub(crate) fn is_choice(message: &str) -> bool {
    let expected = message.rsplit_once(", expected ").map_or("", |(_, expected)| expected);
    matches!(expected, "map with a single key" | "string or map") || expected.starts_with("enum ")
}

/// What a value must be, out of `invalid type: …, expected …`, or nothing for messages of another form.
pub(crate) fn wanted(message: &str) -> Option<String> {
    let body = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .find_map(|start| message.strip_prefix(start))?;
    let (_, expected) = body.rsplit_once(", expected ")?;
    let words = match expected {
        "f64" | "f32" => "a number",
        "u64" | "usize" => "a whole number, 0 or more",
        "u32" => "a whole number from 0 to 4294967295",
        "u16" => "a whole number from 0 to 65535",
        "u8" => "a whole number from 0 to 255",
        "i64" | "i32" | "i16" | "i8" | "isize" => "a whole number",
        "a string" | "string" | "a borrowed string" | "path string" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a mapping",
        _ if is_choice(message) => "the name of one choice, or one `choice: { … }`",
        "unit" | "unit variant" => "no value",
        _ if expected.starts_with("a nonzero") => "a whole number, 1 or more",
        _ if expected.starts_with("struct ") => "a mapping",
        _ => return Some(expected.to_owned()),
    };
    Some(words.to_owned())
}

/// Whether a text is one only because its digits are more than YAML takes for a number.
pub(crate) fn is_large_number(text: Option<&str>) -> bool {
    let Some(text) = text else { return false };
    let digits = text.trim_start_matches(['+', '-']);
    let is_read = text.parse::<u64>().is_ok() || text.parse::<i64>().is_ok();
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_infinite = || digits.starts_with(|c: char| c.is_ascii_digit()) && text.parse().is_ok_and(f64::is_infinite);
    !digits.is_empty() && !is_read && (is_whole || is_infinite())
}

/// The noun with the article it wants: `a world`, `an item`, `metrics`.
pub(crate) fn a(noun: &str) -> String {
    let plural = noun.ends_with('s');
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    if plural { noun.to_owned() } else { format!("{article} {noun}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_serde_are_taken_apart() {
        let unknown = "unknown field `gama`, expected one of `gamma`, `seed`";
        assert_eq!(quoted_after(unknown, "unknown field ").as_deref(), Some("gama"));
        assert_eq!(expected_names(unknown), ["gamma", "seed"]);
        assert_eq!(expected_names("unknown field `a`, there are no fields"), [""; 0]);
        assert_eq!(wanted("invalid type: string \"a, expected b\", expected f64").as_deref(), Some("a number"));
        assert_eq!(wanted("invalid length 3, expected a tuple of size 2").as_deref(), Some("a tuple of size 2"));
        assert_eq!(wanted("must lie between 0 and 1"), None);
        let large = ["99999999999999999999", "-99999999999999999999", "1e400", "+1", "007", "", "-", "inf", "9x"];
        assert_eq!(
            large.map(|text| is_large_number(Some(text))),
            [true, true, true, false, false, false, false, false, false]
        );
        assert_eq!([a("world"), a("item"), a("metrics")], ["a world", "an item", "metrics"]);
    }
}
