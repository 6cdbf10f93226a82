//! A text as the name of a file.

use std::fmt::Write as _;

/// Names of files end at 255 bytes, and `.json` or `.log` comes behind.
const LONGEST: usize = 240;

/// A text as the name of a file or folder on any system: letters, digits and `_ - . = , @ +` stay, other bytes become `%2F`.
pub(crate) fn file_name(text: &str) -> String {
    let mut name = String::new();
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            // A leading dot would hide the file, and `..` leave the folder.
            b'.' if index == 0 => name.push_str("%2E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'=' | b',' | b'@' | b'+' => {
                name.push(byte.into());
            }
            _ => write!(name, "%{byte:02X}").expect("writing to a String cannot fail"),
        }
    }
    if name.len() > LONGEST {
        // What is cut off still tells names apart.
        name.truncate(LONGEST - 17);
        let _ = write!(name, "-{}", &blake3::hash(text.as_bytes()).to_hex()[..16]);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_safe() {
        assert_eq!(file_name("policy@seed=3,lr=0.1"), "policy@seed=3,lr=0.1");
        assert_eq!(file_name("../a b"), "%2E.%2Fa%20b");
        assert_eq!(file_name("ä"), "%C3%A4");
        let long = ["ä".repeat(200), "ä".repeat(201)].map(|text| file_name(&text));
        assert!(long[0] != long[1] && long.iter().all(|name| name.len() == LONGEST), "{long:?}");
    }
}
