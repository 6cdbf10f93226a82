//! Completion, asked of the program and through a real bash.

use std::fs;
use std::process::Command;

use crate::project::Project;

const SWEEP: &str = "\
name: sweep
stages:
  pages: { use: toy.number, with: { value: 1 } }
  policy: { use: toy.add, inputs: { a: pages.value }, sweep: { plus: [0, 1] } }
  score: { use: toy.page, inputs: { values: policy.value } }
";

/// What is offered after a line, each without the words on it.
fn offered(project: &Project, line: &str) -> Vec<String> {
    let output = project.command("").args(["complete", "--", line]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.split_once('\t').unwrap().0.to_owned()).collect()
}

#[test]
fn stages_outputs_runs_files_options_and_settings_are_offered() {
    let project = Project::new(SWEEP);
    project.ok("run x.yaml");
    let run = project.ok("runs").split_whitespace().next().unwrap().to_owned();
    let offers = |line: &str| offered(&project, line);
    assert_eq!(offers("apprentice ru"), ["run", "runs"]);
    assert!(!offers("apprentice ").contains(&"complete".to_owned()), "what is hidden is not offered");
    assert_eq!(offers("apprentice run "), ["artifacts/", "x.yaml"]);
    assert_eq!(offers("apprentice run x.yaml "), ["pages", "policy", "score"]);
    assert_eq!(offers("apprentice run x.yaml pages s"), ["score"]);
    let cells = ["policy@plus=0", "policy@plus=1"];
    assert_eq!(offers("apprentice explain x.yaml po"), ["policy", cells[0], cells[1]]);
    assert_eq!(offers("apprentice explain x.yaml policy@"), cells);
    assert_eq!(offers("apprentice explain --threads 2 x.yaml policy@plus=1"), [cells[1]]);
    assert_eq!(offers("apprentice run x.yaml --force po")[0], "policy");
    assert_eq!(offers("apprentice run x.yaml --force=sc"), ["--force=score"]);
    assert_eq!(offers("apprentice plan x.yaml --ch"), ["--check"]);
    assert_eq!(offers("apprentice plan x.yaml --set stages.policy.with.p"), ["stages.policy.with.plus="]);
    assert_eq!(offers("apprentice plan x.yaml --set stages.policy.sweep.plus=[7] policy@"), ["policy@plus=7"]);
    assert_eq!(offers("apprentice inspect po"), ["policy@plus=0.value", "policy@plus=1.value"]);
    assert_eq!(offers("apprentice inspect artifacts/sweep/pages/"), ["artifacts/sweep/pages/value.txt"]);
    assert_eq!(offers("apprentice runs "), [run]);
    assert_eq!(offers("apprentice completions z"), ["zsh"]);
    for nothing in
        ["", "apprentice", "apprentice nosuch ", "apprentice run absent.yaml ", "apprentice run x.yaml 'po\\"]
    {
        assert!(offers(nothing).is_empty(), "{nothing}");
    }
    // An experiment at work may have faults; one that is none at all has no stages.
    project.write("x.yaml", &SWEEP.replace("toy.add", "toy.ad"));
    assert_eq!(offers("apprentice run x.yaml p"), ["pages", "policy"]);
    project.write("x.yaml", "stages: [");
    assert!(offers("apprentice run x.yaml p").is_empty());
}

/// Answers of the script in a bash, for a line and the words that bash makes of it.
fn bash(project: &Project, line: &str, words: &[&str]) -> Vec<String> {
    let words: String = words.iter().map(|word| format!("'{word}' ")).collect();
    let script = format!(
        "source ./script\nCOMP_WORDBREAKS=$' \\t\\n\"\\'@><=;|&(:'\nCOMP_LINE='{line}'\nCOMP_POINT=${{#COMP_LINE}}\n\
         COMP_WORDS=({words})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n_apprentice\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n\
         complete -p apprentice >&2\n"
    );
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", &script]).current_dir(project.path(""));
    let output = command.output().expect("bash is there wherever the tests run");
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(talk, "complete -F _apprentice apprentice\n");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_also_behind_the_letters_at_which_it_cuts_words() {
    let project = Project::new(SWEEP);
    fs::write(project.path("script"), project.ok("completions bash")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_toy"), project.path("apprentice")).unwrap();
    let answers = |line: &str, words: &[&str]| bash(&project, line, words);
    let program = "./apprentice";
    assert_eq!(answers("./apprentice expl", &[program, "expl"]), ["explain"]);
    let stages = answers("./apprentice explain x.yaml po", &[program, "explain", "x.yaml", "po"]);
    assert_eq!(stages, ["policy", "policy@plus=0", "policy@plus=1"]);
    let cut = [program, "run", "x.yaml", "policy", "@", "plus", "=", ""];
    assert_eq!(answers("./apprentice run x.yaml policy@plus=", &cut), ["0", "1"]);
    assert_eq!(answers("./apprentice run x.yaml policy@p", &cut[..6]), ["plus=0", "plus=1"]);
    assert_eq!(
        answers("./apprentice run x.yaml --force=sc", &[program, "run", "x.yaml", "--force", "=", "sc"]),
        ["score"]
    );
}

#[test]
fn other_shells_get_scripts_that_ask_the_program_too() {
    let project = Project::new(SWEEP);
    for shell in ["zsh", "fish"] {
        let script = project.ok(&format!("completions {shell}"));
        assert!(script.contains(" complete -- ") && script.contains("apprentice"), "{script}");
        project.write("script", &script);
        match Command::new(shell).args(["-n", "script"]).current_dir(project.path("")).output() {
            Ok(read) => assert!(read.status.success(), "{shell} cannot read its script: {read:?}"),
            Err(absent) => eprintln!("{shell} is not here to read its script: {absent}"),
        }
    }
    let ask = "source script; complete -C './apprentice explain x.yaml po'";
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_toy"), project.path("apprentice")).unwrap();
    match Command::new("fish").args(["--no-config", "-c", ask]).current_dir(project.path("")).output() {
        Ok(answered) => assert_eq!(
            String::from_utf8(answered.stdout).unwrap(),
            "policy\ttoy.add\npolicy@plus=0\ttoy.add\npolicy@plus=1\ttoy.add\n"
        ),
        Err(absent) => eprintln!("fish is not here to complete: {absent}"),
    }
    for shell in ["elvish", "powershell"] {
        assert!(project.ok(&format!("completions {shell}")).contains("explain"));
    }
}
