//! Merge keys, tags, and texts that look like something else.

use serde_json::{Value, json};

use super::{HEAD, below, faults, same};
use crate::spec::toy::good;
use crate::spec::tree;

/// The configs of `a`, `b`, … of [`HEAD`] with these stages below.
fn configs(tail: &str) -> Vec<Value> {
    good(&format!("{HEAD}{tail}\n"), &[]).nodes[2..].iter().map(|node| node.config.config()).collect()
}

/// A text as JSON, which must have no fault.
fn read(text: &str) -> Value {
    let mut errors = Vec::new();
    let tree = tree::parse(text, 0, 0, &mut errors);
    assert!(errors.is_empty(), "{text}: {errors:?}");
    tree.unwrap().to_json()
}

const FIT: &str = "use: fit, inputs: { interactions: log.interactions }";

#[test]
fn a_merge_key_gives_what_is_not_written_beside_it() {
    let found = configs(&format!(
        "  a: {{ {FIT}, with: &a {{ seed: 1, layers: [8] }} }}\n  b: {{ {FIT}, with: {{ <<: *a, seed: 2 }} }}\n  c:\n    use: fit\n    inputs: {{ interactions: log.interactions }}\n    with:\n      seed: 3\n      <<: *a\n"
    ));
    let config = |seed| json!({ "layers": [8], "model": "popular", "seed": seed });
    assert_eq!(found, [config(1), config(2), config(3)]);
    // The examples of yaml.org/type/merge.html.
    let text = "- &CENTER { x: 1, y: 2 }\n- &LEFT { x: 0, y: 2 }\n- &BIG { r: 10 }\n- &SMALL { r: 1 }\n- { x: 1, y: 2, r: 10, label: c }\n- { <<: *CENTER, r: 10, label: c }\n- { <<: [*CENTER, *BIG], label: c }\n- { <<: [*BIG, *LEFT, *SMALL], x: 1, label: c }\n";
    let list = read(text);
    assert!((5..8).all(|at| list[at] == list[4]), "{list}");
    // What was merged is merged on; mappings inside are taken whole; the order is that of the text.
    let text = "{ a: &a { k: 1, in: { x: 1, y: 1 } }, b: &b { l: 2, <<: *a }, c: { <<: *b, in: { x: 2 } }, d: { z: 0, <<: *b, w: 0 } }";
    let map = read(text);
    assert_eq!(map["c"], json!({ "l": 2, "k": 1, "in": { "x": 2 } }));
    assert_eq!(map["d"].to_string(), r#"{"z":0,"l":2,"k":1,"in":{"x":1,"y":1},"w":0}"#);
    assert_eq!(read("{ a: { <<: { k: 1 }, l: 2 }, b: { <<: [] } }"), json!({ "a": { "k": 1, "l": 2 }, "b": {} }));
    assert_eq!(read("{ '<<': 1, k: \"<<\" }"), json!({ "<<": 1, "k": "<<" }), "quoted it is a text");
    // Whole stages, too, and a stage of a sweep.
    let found = configs(&format!("  a: &a {{ {FIT}, with: {{ seed: 1 }} }}\n  b: {{ <<: *a, with: {{ seed: 2 }} }}"));
    assert_eq!((&found[0]["seed"], &found[1]["seed"]), (&json!(1), &json!(2)));
}

#[test]
fn a_fault_in_what_was_merged_is_shown_where_it_is_written() {
    let text = format!("  a: {{ {FIT}, with: &a {{ seed: 1 }} }}\n  b: {{ {FIT}, with: {{ <<: *a, sed: 2 }} }}");
    same(below(&text), &["toy.yaml:7:78 sed | unknown key `sed` in the config of fit | did you mean `seed`?"]);
    let text = format!(
        "  a: {{ {FIT}, with: &a {{ seed: 1 }} }}\n  b: {{ use: learn.a2c, inputs: {{ world: world.world }}, with: {{ <<: *a, gamma: x }} }}"
    );
    same(
        below(&text),
        &[
            "toy.yaml:7:79 x | `gamma` takes a number, not the text \"x\" | `gamma`: Discount per step, above 0 and at most 1; for example `gamma: 0.99`",
        ],
    );
    let text = format!(
        "  a: {{ {FIT}, with: &a {{ layers: [8] }} }}\n  b: {{ use: learn.a2c, inputs: {{ world: world.world }}, with: {{ <<: *a }} }}"
    );
    let found = below(&text);
    assert!(
        found[0].starts_with("toy.yaml:6:73 layers | unknown key `layers` in the config of learn.a2c"),
        "{found:?}"
    );
    let help = "name a mapping with `&x`, and merge it with `<<: *x`";
    same(
        below("  a: { <<: 3, use: report }"),
        &[&format!("toy.yaml:6:8 << | `<<` takes a mapping or a list of mappings, not 3 | {help}")],
    );
    same(
        below("  a: { <<: [{}, [x]], use: report }"),
        &[&format!("toy.yaml:6:8 << | `<<` takes a mapping or a list of mappings, not a list | {help}")],
    );
    same(
        below("  a: { <<: { use: report }, <<: {} }"),
        &["toy.yaml:6:29 << | the key `<<` is written twice | give it a list: `<<: [*a, *b]`"],
    );
    same(
        below("  a: { <<: { use: report }, with: {}, with: {} }"),
        &[
            "toy.yaml:6:39 with | the key `with` is written twice | the first one stands in line 6; remove or rename one of them",
        ],
    );
}

#[test]
fn merging_does_not_make_a_small_file_large() {
    let mut text = "a0: &a0 { ".to_owned() + &(0..100).map(|key| format!("k{key}: 0, ")).collect::<String>() + "}\n";
    for level in 1..3000 {
        text += &format!("a{level}: &a{level} {{ <<: *a{}, l{level}: 0 }}\n", level - 1);
    }
    let mut errors = Vec::new();
    assert!(tree::parse(&text, 0, 0, &mut errors).is_none());
    assert_eq!(errors[0].message, "the values are nested too deeply or too many");
}

#[test]
fn tags_of_yaml_itself_say_what_a_value_is_and_others_are_refused() {
    let text = "{ a: !!str 1, b: !!int '2', c: !!float 3, d: !!bool \"true\", e: !!null '', f: !!seq [1], g: !!map { !!str x: 1 }, h: ! 12, i: !!str }";
    let wanted =
        json!({ "a": "1", "b": 2, "c": 3, "d": true, "e": null, "f": [1], "g": { "x": 1 }, "h": "12", "i": "" });
    assert_eq!(read(text), wanted);
    let choice = "a choice is written as a key: `name: { … }`";
    for tag in ["!!python/object:os.system", "!!set", "!!binary", "!!omap", "!!timestamp", "!Ref", "!<tag:a,2000:b>"] {
        for value in ["x", "{ x: 1 }", "[x]"] {
            let found = faults(&format!("name: t\nstages: {{ a: {{ use: report, with: {tag} {value} }} }}\n"), &[]);
            let named = tag.trim_start_matches("!<").trim_end_matches('>');
            assert!(found[0].contains(named) && found[0].ends_with(choice), "{tag}: {found:?}");
            assert!(found[0].starts_with("toy.yaml:2:"), "{found:?}");
        }
    }
    for (value, message) in [
        ("!!int x", "`!!int` wants a whole number, not `x`"),
        ("!!int 1.5", "`!!int` wants a whole number, not `1.5`"),
        ("!!float yes", "`!!float` wants a number, not `yes`"),
        ("!!bool no", "`!!bool` wants true or false, not `no`"),
        ("!!null 0", "`!!null` wants nothing, not `0`"),
        ("!!seq x", "the YAML tag `!!seq` is not known here"),
        ("!!map [x]", "the YAML tag `!!map` is not known here"),
        ("{ !!python/name:x a: 1 }", "the YAML tag `!!python/name:x` is not known here"),
    ] {
        let mut errors = Vec::new();
        tree::parse(value, 0, 0, &mut errors);
        assert_eq!(errors.iter().map(|fault| &*fault.message).collect::<Vec<_>>(), [message], "{value}");
    }
}

/// As in nodeca/js-yaml#758, where `...` that was written plainly is read back as nothing; so it was here.
#[test]
fn a_text_that_would_end_a_document_is_a_text() {
    assert_eq!(read("{ a: ---, b: ..., c: --- 5, d: ----, e: '---', f: -- }")["c"], "--- 5");
    assert_eq!(read("a: ---\nb: ...\n"), json!({ "a": "---", "b": "..." }));
    for text in ["---", "...", "--- 5"] {
        let set = format!("stages.log.with.user_column={text}");
        assert_eq!(good(HEAD, &[&set]).nodes[0].config.config()["user_column"], text);
    }
}

#[test]
fn an_anchor_on_a_key_names_its_text() {
    assert_eq!(read("{ &k key: 1, other: *k }"), json!({ "key": 1, "other": "key" }));
}

/// `+fail_here=#` of hydra-ecosystem/hydra#2705 ends in an error there; here the value was silently lost or cut off.
#[test]
fn a_value_on_the_command_line_is_not_cut_off_at_a_comment() {
    let help = "quote the value: `--set 'path=\"a #1\"'`";
    for (value, place) in
        [("#5", "29 #5"), ("a #5", "31 #5"), ("  # a", "31 # a"), ("'a' # b", "33 # b"), ("[a] #b", "33 #b")]
    {
        let set = format!("stages.log.with.user_column={value}");
        let found = faults(HEAD, &[&set]);
        assert_eq!(found[0], format!("--set:1:{place} | `#` begins a comment, which would be lost | {help}"), "{set}");
    }
    for (value, wanted) in [("a#5", "a#5"), ("'#5'", "#5"), ("\"a #1\"", "a #1"), ("\"#\"  ", "#")] {
        let set = format!("stages.log.with.user_column={value}");
        assert_eq!(good(HEAD, &[&set]).nodes[0].config.config()["user_column"], wanted);
    }
}
