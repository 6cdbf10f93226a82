//! Experiments in old words: refused by every command, rewritten by `migrate`.

use crate::project::Project;

const OLD: &str = "\
# The sum of two numbers.
name: old
stages:
  a: { use: toy.number, each: { value: [1, 2] } }   # two cells

  'b': {use: toy.number,  with: {value: 2.50}}
  sum:
    use: \"toy.plus\"   # quoted
    inputs:
      first: a.number
      b: 'b.number'     # the old port
    # What is added.
    with:
      offset:   3
";

fn new() -> String {
    OLD.replace("each", "sweep")
        .replace("toy.plus", "toy.add")
        .replace("first", "a")
        .replace("a.number", "a.value")
        .replace("b.number", "b.value")
        .replace("offset", "plus")
}

#[test]
fn old_words_are_refused_by_every_command_and_migrated_byte_for_byte() {
    let project = Project::new(OLD);
    for command in ["run x.yaml", "plan x.yaml", "explain x.yaml sum", "graph x.yaml"] {
        let refused = project.run(command);
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{command}");
        for part in
            ["x.yaml:4:25", "`each` is now `sweep`", "x.yaml:14:7", "`offset` is now `plus`", "6 errors in x.yaml"]
        {
            assert!(refused.stderr.contains(part), "{command}: no {part:?} in\n{}", refused.stderr);
        }
        assert!(refused.stderr.contains("`apprentice migrate x.yaml` rewrites the file"), "{}", refused.stderr);
    }
    let listed = "\
x.yaml:4: each → sweep
x.yaml:8: toy.plus → toy.add
x.yaml:10: first → a
x.yaml:10: number → value
x.yaml:11: number → value
x.yaml:14: offset → plus
";
    let check = project.run("migrate x.yaml --check");
    assert_eq!((check.code, check.stdout), (3, format!("{listed}x.yaml: 6 words to rewrite\n")));
    assert_eq!(std::fs::read_to_string(project.path("x.yaml")).unwrap(), OLD, "`--check` writes nothing");
    assert_eq!(project.ok("migrate x.yaml"), format!("{listed}x.yaml: 6 words rewritten\n"));
    assert_eq!(std::fs::read_to_string(project.path("x.yaml")).unwrap(), new());
    assert_eq!(project.ok("migrate x.yaml --check"), "x.yaml: nothing to rewrite\n");
    assert_eq!(project.ran("").len(), 5);
    let shown = project.run("inspect b.number");
    assert_eq!(shown.code, 2);
    assert!(shown.stderr.contains("help: `number` is now `value`: ask for `b.value`"), "{}", shown.stderr);
    let cell = project.run("plan x.yaml --set stages.sum.sweep.plus=[1] --set stages.sum.with={} sum@offset=1,value=2");
    assert!(cell.stderr.contains("did you mean `sum@plus=1,value=2`?"), "{}", cell.stderr);
}

#[test]
fn of_several_files_one_with_a_fault_leaves_all_as_they_are() {
    let project = Project::new(OLD);
    for (faulty, words) in [
        ("name: [\n", "invalid YAML"),
        ("name: t\nstages:\n  s: { use: toy.add, with: { offset: 1, plus: 2 } }\n", "keep one of them"),
    ] {
        project.write("y.yaml", faulty);
        let refused = project.run("migrate x.yaml y.yaml");
        assert_eq!(refused.code, 2);
        assert!(refused.stderr.contains(words) && refused.stderr.contains("1 error in y.yaml"), "{}", refused.stderr);
        assert_eq!(std::fs::read_to_string(project.path("x.yaml")).unwrap(), OLD);
        assert_eq!(std::fs::read_to_string(project.path("y.yaml")).unwrap(), faulty);
    }
    assert!(project.run("migrate absent.yaml").stderr.contains("cannot read the experiment `absent.yaml`"));
    let json: serde_json::Value = serde_json::from_str(&project.ok("migrate x.yaml --json")).unwrap();
    assert_eq!(json["files"][0]["changes"][0], serde_json::json!({ "line": 4, "old": "each", "new": "sweep" }));
    assert!(!project.path("artifacts").exists());
}

#[cfg(unix)]
#[test]
fn a_file_keeps_its_permissions_and_its_links() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let project = Project::new(OLD);
    let file = project.path("x.yaml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&file, project.path("link.yaml")).unwrap();
    project.ok("migrate link.yaml");
    assert!(project.path("link.yaml").is_symlink());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), new());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    project.write("x.yaml", OLD);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).unwrap();
    let refused = project.run("migrate x.yaml");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("cannot write `x.yaml`: it is read-only"), "{}", refused.stderr);
}
