use serde_json::Value;

use super::renamed::OLD;
use crate::spec::renamed::migrate;
use crate::spec::toy::{CATALOG, GOOD};
use crate::spec::{check, tree};

/// Loads a text without a file and renders what is wrong, which looks at every place.
fn load(text: String, sets: &[String]) {
    if let Err(faults) = check("toy.yaml", "".into(), text, sets, &CATALOG) {
        assert!(!faults.list().is_empty());
        assert!(!faults.render(false).is_empty());
        assert_eq!(faults.to_json().as_array().map(Vec::len), Some(faults.list().len()));
    }
}

#[test]
fn no_damage_to_a_file_makes_it_panic() {
    for cut in 0..=GOOD.len() {
        load(GOOD[..cut].to_owned(), &[]);
    }
    for at in (0..GOOD.len()).step_by(7) {
        for piece in ["\t", "ü", ":", "{", "]", "'", "&a ", "*a", "- ", "\n", "!", "~", "\u{0}", "? "] {
            load(format!("{}{piece}{}", &GOOD[..at], &GOOD[at..]), &[]);
        }
        load(format!("{}{}", &GOOD[..at], &GOOD[at + 1..]), &[]);
    }
    let lines: Vec<&str> = GOOD.lines().collect();
    for skip in 0..lines.len() {
        let rest: Vec<&str> = lines.iter().enumerate().filter(|(at, _)| *at != skip).map(|(_, line)| *line).collect();
        load(rest.join("\n"), &[]);
    }
}

/// Rewrites a text, unless it is refused; what is rewritten holds no old word.
fn rewrite(text: &str) {
    if let Ok(migrated) = migrate("toy.yaml", text, &CATALOG) {
        let again = migrate("toy.yaml", &migrated.text, &CATALOG);
        assert!(again.is_ok_and(|again| again.changes.is_empty()), "{text}\n{}", migrated.text);
    }
}

#[test]
fn no_damage_to_a_file_in_old_words_leaves_half_of_it_rewritten() {
    let block =
        "stages:\n  x:\n    use: fit\n    with:\n      # a\n      rank: 8 # b\n      seed: 1\n      penalty: 2\n";
    for text in [OLD, block] {
        for cut in (0..=text.len()).step_by(3) {
            rewrite(&text[..cut]);
        }
        for at in (0..text.len()).step_by(11) {
            for piece in ["ü", ": ", "{", "}", "'", "&a ", "*a", "- ", "\n", " # ", ",", "<<: ", "? "] {
                rewrite(&format!("{}{piece}{}", &text[..at], &text[at..]));
            }
        }
    }
}

#[test]
fn no_damage_to_an_override_makes_it_panic() {
    let set = "stages.world.with.model.factors.rank={ü: [3]}";
    for (at, _) in set.char_indices() {
        load(GOOD.into(), &[set[..at].into()]);
        load(GOOD.into(), &[set[at..].into()]);
        for piece in [".", "=", "ü", " ", "sweep."] {
            load(GOOD.into(), &[format!("{}{piece}{}", &set[..at], &set[at..])]);
        }
    }
}

#[test]
fn values_are_those_of_serde_yaml() {
    let texts = [
        GOOD,
        "a: [1, -2, 0x1f, 0o17, 1e-3, 1.0, .5, 18446744073709551615, yes, true, ~, null, '', '1', \"a\\tb\", 1_000, 01, -0]",
        "a: |\n  two\n  lines\nb: >-\n  folded\n  text\nc:\n- x\n- y: 1\n  z:\n",
        "plain over\n  two lines: x\n? a\n: b\n",
        "- - a\n  - b\n- {c: d, e}\n",
        "2024-01-01: 12:30\n'#': a#b\n",
    ];
    for text in texts {
        let mut errors = Vec::new();
        let ours = tree::parse(text, 0, 0, &mut errors).map(|tree| tree.to_json());
        match serde_yaml::from_str::<Value>(text) {
            Ok(theirs) => assert_eq!(ours, Some(theirs), "{text}"),
            Err(error) => assert!(!errors.is_empty(), "serde_yaml refuses what we read ({error}): {text}"),
        }
    }
}
