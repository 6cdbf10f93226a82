//! A line as a shell reads it, cut into words.

/// The words of a line; the last one is where the cursor stands, empty after a space.
pub(super) fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let last = words.last_mut().expect("there is always a word");
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None | Some('"'), '\\') => last.extend(letters.next()),
            (None, _) if letter.is_whitespace() => {
                // A run of spaces is one.
                while letters.next_if(|next| next.is_whitespace()).is_some() {}
                words.push(String::new());
            }
            _ => last.push(letter),
        }
    }
    // `NAME=value program …` begins with what is no program.
    while words.len() > 1 && words[0].contains('=') {
        words.remove(0);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_as_a_shell_cuts_them() {
        assert_eq!(split(""), [""]);
        assert_eq!(split("a  b "), ["a", "b", ""]);
        assert_eq!(split(r#"A=1 p 'my file' "x \" y" a\ b 'open"#), ["p", "my file", "x \" y", "a b", "open"]);
        assert_eq!(split("p \\"), ["p", ""]);
    }
}
