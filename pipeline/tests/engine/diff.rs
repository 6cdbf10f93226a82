//! What `diff` says of two runs, and whom it asks about two files.

use serde_json::Value;

use crate::project::{Project, SUM, spoil};

#[test]
fn settings_inputs_outputs_and_metrics_from_old_to_new() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    project.ok("run x.yaml --set stages.sum.with.plus=4");
    let text = project.ok("diff last~1 last");
    let rest = text.lines().skip(2).collect::<Vec<_>>().join("\n");
    assert!(text.starts_with("old  20") && text.contains("  apprentice run x.yaml\nnew  20"), "{text}");
    for words in [
        "\nsum    config.plus         3.0 → 4.0\n       output.value        ",
        "\nround  input.value         ",
        "\npage   input.values.total  ",
        "\nthe first output that differs is sum.value, because of config.plus 3.0 → 4.0\n",
        "\nsum.value    value  6.2 → 7.2  (+1)\nround.value  value  6 → 7      (+1)\n",
        "\n3 stages differ, 2 equal; 2 metrics differ, 2 equal",
    ] {
        assert!(rest.contains(words), "{words}\n\n{text}");
    }
    let back: Value = serde_json::from_str(&project.ok("diff last last~1 --json")).unwrap();
    let difference = &back["difference"];
    assert_eq!(difference["first"]["cause"]["field"], "config.plus");
    assert_eq!(difference["stages"][0]["fields"][0]["old"], 4.0);
    assert_eq!(difference["metrics"][0]["new"], 6.2);
}

#[test]
fn equal_runs_and_cut_off_changes() {
    let project = Project::new(SUM);
    for set in ["", "", "--set stages.a.with.value=1.3"] {
        project.ok(&format!("run x.yaml {set}"));
    }
    assert!(project.ok("diff last~2 last~1").ends_with("\n0 stages differ, 5 equal; 0 metrics differ, 4 equal\n"));
    let text = project.ok("diff last~1 last");
    assert!(text.contains("\na      config.value  1.2 → 1.3\n"), "{text}");
    assert!(!text.contains("page") && text.contains("\n3 stages differ, 2 equal"), "{text}");
}

#[test]
fn stages_that_come_go_or_left_nothing() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    project.write(
        "x.yaml",
        &SUM.replace("  b:", "  bad: { use: toy.fail, with: { how: error } }\n  b:").replace("  page", "  seite"),
    );
    assert_eq!(project.run("run x.yaml --keep-going").code, 8);
    let text = project.ok("diff last~1 last");
    assert!(text.contains("\nbad    is new\nseite  is new\npage   is gone\n"), "{text}");
    project.write(
        "x.yaml",
        &SUM.replace("use: toy.add, inputs: { a: a.value, b: b.value }", "use: toy.number")
            .replace("plus: 3", "value: 6.2"),
    );
    project.ok("run x.yaml");
    let text = project.ok("diff last~2 last");
    assert!(text.contains("\nsum  use           toy.add → toy.number\n"), "{text}");
    assert!(text.contains("\n1 stage differs, 4 equal"), "{text}");
}

#[test]
fn metrics_are_not_read_from_a_damaged_object() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let object = project.object("a.value");
    project.ok("run x.yaml --set stages.a.with.value=5");
    spoil(&object, b"9\n");
    let text = project.ok("diff last~1 last");
    assert!(text.contains("\nthe metrics of a.value of 20") && text.contains(" is damaged or lost\n"), "{text}");
    assert!(text.contains("\nround.value  value  6 → 10 "), "{text}");
    assert_eq!(std::fs::read(object).unwrap(), b"9\n", "looking changes nothing");
}

#[test]
fn what_cannot_be_compared_is_named() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    for (args, words) in [
        ("a nosuch", "`nosuch` is neither a file nor an output"),
        ("a last", "`a` is a file, and `last` is a run\nhelp: compare two runs, or two files"),
        ("last last --key a", "are runs, and these options are about files"),
        ("last last --format md", "are runs, and these options are about files"),
        ("a b --format csv", "csv holds rows and nothing else"),
    ] {
        let refused = project.run(&format!("diff {args}"));
        assert!(refused.code == 2 && refused.stderr.contains(words), "{args}: {refused:?}");
    }
    let json: Value = serde_json::from_str(&project.ok("diff a x.yaml --json")).unwrap();
    assert!(json["content"]["text"].as_str().unwrap().starts_with("1.2\nname: sum"), "{json}");
}
