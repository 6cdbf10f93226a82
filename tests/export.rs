//! A policy for other programs. That its scores are the program's is tested by `python.rs`, with ONNX's own runtime.

use std::fs;

use crate::project::{Project, text};

#[test]
fn a_policy_is_exported_and_what_is_none_is_refused() {
    let project = Project::smoke();
    project.ok(&["run", "x.yaml", "bc", "-q"]);
    let told = project.ok(&["export", "bc", "--format", "onnx", "--json"]).json();
    assert_eq!((text(&told["path"]).as_str(), told["opset"].as_u64()), ("bc.onnx", Some(17)));
    let names: Vec<String> = told["inputs"].as_array().unwrap().iter().map(|one| text(&one["name"])).collect();
    assert_eq!(names, ["user", "recent", "progress", "allowed"], "its encoder reads no rewards");
    let file = "artifacts/smoke/bc/policy.safetensors";
    let said = project.ok(&["export", file, "--format", "onnx", "--out", "again.onnx"]);
    said.says(&["wrote `again.onnx`: ONNX, opset 17"]).prints(&[
        "recent",
        "int64 [batch, ",
        "scores",
        "float32 [batch, 60]",
    ]);
    let [first, again] = ["bc.onnx", "again.onnx"].map(|name| fs::read(project.path(name)).unwrap());
    assert!(first == again, "equal policies are equal files");
    assert_eq!(told["bytes"].as_u64(), Some(first.len() as u64));

    let wrong = |args: &[&str], code: i32, parts: &[&str]| {
        project.run(&[&["export"], args].concat()).ends_with(code).says(parts);
    };
    wrong(&["world.world", "--format", "onnx"], 2, &["is of kind `world`, not a policy", "help: "]);
    wrong(&["bc", "--format", "tflite"], 2, &["invalid value 'tflite'"]);
    wrong(&["bc"], 2, &["--format <FORMAT>"]);
    wrong(
        &["bc", "--format", "onnx", "--out", "x.yaml/x.onnx"],
        1,
        &["cannot write `x.yaml/x.onnx`", "help: `--out FILE`"],
    );
}
