//! A whole number in what a model wrote.

/// The first whole number on the scale from `low` to `high` in an answer, except those that repeat the scale itself (`from -5 to 5`, `of 5`);
/// `None` where there is none.
pub(crate) fn parse_integer(text: &str, (low, high): (i32, i32)) -> Option<i32> {
    let text = text.replace(['−', '–'], "-");
    let is_part = |c: char| c.is_ascii_digit() || c == '-';
    // Each number with the words before it, back to the number before.
    let mut found: Vec<(i32, &str)> = Vec::new();
    let (mut at, mut between) = (0, 0);
    while let Some(begin) = text[at..].find(is_part).map(|begin| at + begin) {
        at = text[begin..].find(|c| !is_part(c)).map_or(text.len(), |end| begin + end);
        if let Ok(number) = text[begin..at].parse() {
            found.push((number, text[between..begin].trim()));
            between = at;
        }
    }
    let is_scale = |k: usize| {
        let pair = |low_at: usize| {
            let joins = |(number, before): &(i32, &str)| {
                *number == high && ["to", "and", "through", "..", "...", "…", ","].contains(before)
            };
            found.get(low_at).is_some_and(|(number, _)| *number == low) && found.get(low_at + 1).is_some_and(joins)
        };
        pair(k) || k.checked_sub(1).is_some_and(|k| pair(k) || ["of", "out of", "/"].contains(&found[k + 1].1))
    };
    let value = (0..found.len()).find(|&k| (low..=high).contains(&found[k].0) && !is_scale(k));
    value.map(|k| found[k].0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_on_the_scale_is_found_and_the_scale_itself_is_none() {
        for (text, value) in [
            ("3", Some(3)),
            ("-4.", Some(-4)),
            ("Value: −2 of 5", Some(-2)),
            ("17, no: 2", Some(2)),
            // truera/trulens#2726: a scale that is repeated before the value was taken for it.
            ("On a scale from -5 to 5, I would say 3.", Some(3)),
            ("Value (-5 … 5): 4", Some(4)),
            ("(−5 to 5)", None),
            ("3 out of 5", Some(3)),
            ("a value of 2", Some(2)),
            ("between -5 and 5: -5", Some(-5)),
            ("-5", Some(-5)),
            ("5/5", Some(5)),
            ("-4-", None),
            ("none", None),
            ("", None),
        ] {
            assert_eq!(parse_integer(text, (-5, 5)), value, "{text}");
        }
    }
}
