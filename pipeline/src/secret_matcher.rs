//! How a secret may look in a text that somebody else wrote: as it is, escaped as JSON, URLs and web pages escape it, also more
//! than once, and in base64, alone or within a longer token such as that of `Basic`.
//!
//! Looked for is the core of the value, without white space and quotes around it: those are set by mistake, and a server that
//! repeats the value may well leave them out.
//!
//! Not here: parts of a secret, hashes of it, and what is encoded in yet other ways.

/// A shorter value cannot be told from ordinary words and numbers, so it is not looked for.
const SHORTEST: usize = 4;
/// The fewest signs of base64 that count as a trace.
const ENCODED: usize = 5;

/// What to look for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SecretMatcher {
    core: Vec<char>,
    /// The inner signs of its base64 at each of the three places where it may begin within a group of four signs.
    encoded: Vec<Vec<u8>>,
}

impl SecretMatcher {
    /// None for a value that is too short.
    pub fn of(value: &str) -> Option<Self> {
        let quote = |c: char| c.is_whitespace() || "\"'`“”‘’".contains(c);
        let core = value.trim_matches(quote);
        let core = if core.is_empty() { value } else { core };
        let chars: Vec<char> = core.chars().collect();
        (chars.len() >= SHORTEST).then(|| Self { encoded: encoded(core.as_bytes()), core: chars })
    }

    /// How many characters it has.
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// The text with `name` in every place of the secret; none where it is in no place.
    pub fn replaced(&self, text: &str, name: &str) -> Option<String> {
        let plain = self.plain(text, name);
        let encoded = self.decoded(plain.as_deref().unwrap_or(text), name);
        encoded.or(plain)
    }

    /// Without what is written letter by letter.
    fn plain(&self, text: &str, name: &str) -> Option<String> {
        let (mut clean, mut copied, mut at) = (String::new(), 0, 0);
        while at < text.len() {
            if let Some(length) = self.begins(&text[at..]) {
                clean += &text[copied..at];
                clean += name;
                at += length;
                copied = at;
            } else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
            }
        }
        (copied > 0).then(|| clean + &text[copied..])
    }

    /// The bytes that the core takes at the beginning of a text.
    fn begins(&self, text: &str) -> Option<usize> {
        let mut at = 0;
        for &wanted in &self.core {
            at += sign(&text[at..], wanted)?;
        }
        Some(at)
    }

    /// Without tokens in base64 that hold it.
    fn decoded(&self, text: &str, name: &str) -> Option<String> {
        let is_sign = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
        // As the alphabet of the standard writes it.
        let bytes: Vec<u8> = text
            .bytes()
            .map(|byte| match byte {
                b'-' => b'+',
                b'_' => b'/',
                other => other,
            })
            .collect();
        let (mut clean, mut copied, mut at) = (String::new(), 0, 0);
        while at < bytes.len() {
            let Some(signs) = self.encoded.iter().find(|signs| bytes[at..].starts_with(signs)) else {
                at += 1;
                continue;
            };
            let before = bytes[copied..at].iter().rev().take_while(|byte| is_sign(byte)).count();
            let end = at + signs.len();
            clean += &text[copied..at - before];
            clean += name;
            copied = end + bytes[end..].iter().take_while(|byte| is_sign(byte)).count();
            at = copied;
        }
        (copied > 0).then(|| clean + &text[copied..])
    }
}

/// The bytes that a character takes at the beginning of a text, as it is or escaped; none where it is not there.
fn sign(text: &str, wanted: char) -> Option<usize> {
    if text.starts_with(wanted) {
        return Some(wanted.len_utf8());
    }
    // Each time that JSON is put into JSON doubles the backslashes.
    let slashes = backslashes(text);
    let rest = &text[slashes..];
    if slashes > 0 {
        let short = match wanted {
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\u{8}' => 'b',
            '\u{c}' => 'f',
            other => other,
        };
        if wanted == '\\' {
            return Some(slashes.min(2));
        }
        if rest.starts_with(short) {
            return Some(slashes + short.len_utf8());
        }
        let mut units = [0; 2];
        let mut at = slashes;
        for (k, unit) in wanted.encode_utf16(&mut units).iter().enumerate() {
            if k > 0 {
                at += backslashes(&text[at..]);
            }
            let digits = text.get(at..at + 5)?.strip_prefix('u')?;
            if u16::from_str_radix(digits, 16).ok()? != *unit {
                return None;
            }
            at += 5;
        }
        return Some(at);
    }
    if text.starts_with('%') {
        let mut bytes = [0; 4];
        let mut at = 0;
        for byte in wanted.encode_utf8(&mut bytes).bytes() {
            // A sign may be escaped once more: `%252F`.
            let digits = text[at..].strip_prefix('%')?;
            let again = if digits.starts_with("25") && byte != b'%' { 2 } else { 0 };
            at += 1 + again;
            if u8::from_str_radix(text.get(at..at + 2)?, 16).ok()? != byte {
                return None;
            }
            at += 2;
        }
        return Some(at);
    }
    if wanted == ' ' && text.starts_with('+') {
        return Some(1);
    }
    let entity = text.strip_prefix('&')?;
    let (name, _) = entity.split_at_checked(entity.bytes().take(10).position(|byte| byte == b';')?)?;
    let code = name.strip_prefix('#');
    let number = code.and_then(|code| match code.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => code.parse().ok(),
    });
    let named = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => number.and_then(char::from_u32),
    };
    (named == Some(wanted)).then_some(name.len() + 2)
}

/// How many backslashes a text begins with, of those that anybody writes.
fn backslashes(text: &str) -> usize {
    text.bytes().take(16).take_while(|&byte| byte == b'\\').count()
}

/// The signs of base64 that depend on nothing but these bytes, where none, one or two others stand before them.
fn encoded(bytes: &[u8]) -> Vec<Vec<u8>> {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let at = |before: usize| -> Vec<u8> {
        let mut bits = vec![false; 8 * before];
        bits.extend(bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)));
        // The first sign of six bits that are all of these bytes.
        let first = (8 * before).div_ceil(6);
        let whole = bits.chunks_exact(6).skip(first);
        whole.map(|six| SIGNS[six.iter().fold(0, |sum, &bit| 2 * sum + usize::from(bit))]).collect()
    };
    (0..3).map(at).filter(|signs| signs.len() >= ENCODED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(value: &str, text: &str) -> String {
        SecretMatcher::of(value).unwrap().replaced(text, "X").unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn a_secret_is_found_however_it_is_escaped() {
        let key = "sk-a/b+c\"d é";
        for form in [
            key.to_owned(),
            serde_json::to_string(key).unwrap().trim_matches('"').to_owned(),
            "sk-a\\/b+c\\\"d \\u00e9".into(),
            "sk-a\\/b+c\\\"d \\u00E9".into(),
            "sk-a\\\\/b+c\\\\\\\"d \\\\u00e9".into(),
            "\\u0073k-a\\u002fb\\u002Bc\\u0022d\\u0020\\u00e9".into(),
            "sk-a%2Fb%2bc%22d%20%C3%A9".into(),
            "sk-a%2Fb%2Bc%22d+%c3%a9".into(),
            "sk-a%252Fb%252Bc%2522d%2520%25C3%25A9".into(),
            "sk-a/b+c&quot;d &#233;".into(),
            "sk-a&#x2F;b+c&#34;d \u{e9}".into(),
        ] {
            assert_eq!(clean(key, &format!("<{form}> and {form}.")), "<X> and X.", "{form}");
        }
        for other in ["sk-a", "sk-a/b+c", "sk-a\\", "sk-a%2", "sk-a&quot", "sk-a\\u00", "é%", "\\u"] {
            assert_eq!(clean(key, other), other);
        }
        assert_eq!(clean("k\u{1f511}ey", "k\\ud83d\\udd11ey k\u{1f511}ey"), "X X");
        assert_eq!(clean("a\\bc", "a\\bc a\\\\bc"), "X X");
        assert_eq!(clean("ab\ncd", "ab\\ncd"), "X");
    }

    #[test]
    fn what_stands_around_a_secret_by_mistake_is_no_part_of_it() {
        for value in ["abcdef\n", " abcdef", "\"abcdef\"", "'abcdef' ", "\u{201c}abcdef\u{201d}"] {
            assert_eq!(clean(value, "bad key abcdef"), "bad key X");
        }
        assert!(SecretMatcher::of("'abc'").is_none(), "three signs are a word");
    }

    #[test]
    fn base64_is_found_at_every_place_in_a_token() {
        // echo -n 'user:secret-7' and so on | base64
        for token in
            ["c2VjcmV0LTc=", "dXNlcjpzZWNyZXQtNw==", "YTpzZWNyZXQtNw==", "YWI6c2VjcmV0LTc6eA==", "YWI6c2VjcmV0LTc6eA"]
        {
            assert_eq!(clean("secret-7", &format!("Basic {token}, no")), "Basic X, no", "{token}");
        }
        // In the alphabet for addresses: `?>?>?>` is Pz4_Pj8-.
        assert_eq!(clean("?>?>?>", "Pz4_Pj8- Pz4/Pj8+"), "X X");
        assert_eq!(clean("secret-7", "c2VsZWN0aW9uIG9mIHRoaW5ncw=="), "c2VsZWN0aW9uIG9mIHRoaW5ncw==");
    }
}
