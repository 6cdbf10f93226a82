//! The documentation agrees with the program: links lead somewhere, paths exist, snippets are accepted, and the table of
//! stages is what the stages say of themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use pipeline::{Arity, PortSpec};
use serde_json::Value;

use crate::project::{Project, repository};
use crate::source::{Source, sources};

const ACCEPT: &str = "APPRENTICE_ACCEPT_DOCS";
const TABLE: &str = "stages/README.md";
const BEGIN: &str = "<!-- begin of the generated table of stages -->\n";
const END: &str = "<!-- end of the generated table of stages -->";
/// Everything at the top level in which Markdown stands.
const FOLDERS: [&str; 5] = ["pipeline", "stages", "configs", "artifacts", "tests"];

/// Every Markdown file of the repository; of `artifacts`, which runs fill, the one that is committed.
fn documents() -> Vec<Source> {
    let own = |source: &Source| !source.path.starts_with("artifacts/") || source.path == "artifacts/README.md";
    let read = |path: &str| Source { path: path.into(), text: fs::read_to_string(repository().join(path)).unwrap() };
    let mut all = vec![read("README.md")];
    all.extend(FOLDERS.iter().flat_map(|folder| sources(folder, &["md"])).filter(own));
    all
}

/// A block of code between fences.
struct Block {
    language: String,
    /// Number of its first line, from 1.
    line: usize,
    text: String,
}

/// The prose of a Markdown text, with blank lines in place of its blocks of code, and those blocks.
fn parts(text: &str) -> (Vec<&str>, Vec<Block>) {
    let (mut prose, mut blocks, mut open) = (Vec::new(), Vec::new(), None::<Block>);
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { language: language.trim().into(), line: number + 2, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) => {
                prose.push(line);
                continue;
            }
        }
        prose.push("");
    }
    assert!(open.is_none(), "a block of code is never closed");
    (prose, blocks)
}

/// What stands between single backticks on a line, and the line without it.
fn code_spans(line: &str) -> (Vec<&str>, String) {
    let pieces: Vec<&str> = line.split('`').collect();
    let spans = pieces.iter().skip(1).step_by(2).copied().collect();
    (spans, pieces.iter().step_by(2).copied().collect())
}

/// The targets of `[text](target)`.
fn links(line: &str) -> Vec<&str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

/// The anchors of a document as GitHub makes them of its headings.
fn anchors(text: &str) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let (prose, _) = parts(text);
    let headings = prose.into_iter().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let words = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let times = seen.entry(anchor.clone()).and_modify(|times| *times += 1).or_insert(0);
            if *times == 0 { anchor } else { format!("{anchor}-{times}") }
        })
        .collect()
}

/// `path` without `.` and `..`; none where it leads out of the repository.
fn within(path: &Path) -> Option<PathBuf> {
    let mut found = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => found.push(name),
            Component::CurDir => {}
            Component::ParentDir if found.pop() => {}
            _ => return None,
        }
    }
    Some(found)
}

#[test]
fn markdown_is_read_as_its_readers_see_it() {
    let text = "# On a GPU\n[a](b.md#c) `[no](link)` [d](e)\n```yaml\n  # no heading\n  x: [1](2)\n```\n## On a GPU\n";
    let (prose, blocks) = parts(text);
    assert_eq!(prose.len(), 7);
    assert_eq!((blocks[0].language.as_str(), blocks[0].line), ("yaml", 4));
    assert_eq!(blocks[0].text, "  # no heading\n  x: [1](2)\n");
    let (spans, plain) = code_spans(prose[1]);
    assert_eq!(spans, ["[no](link)"]);
    assert_eq!(links(&plain), ["b.md#c", "e"]);
    assert_eq!(anchors(text), ["on-a-gpu", "on-a-gpu-1"]);
    assert_eq!(within(Path::new("a/../b/./c")), Some("b/c".into()));
    assert_eq!(within(Path::new("a/../../b")), None);
}

#[test]
fn links_and_paths_lead_somewhere() {
    let mut wrong = Vec::new();
    for document in documents() {
        let folder = Path::new(&document.path).parent().unwrap().to_owned();
        for (number, line) in parts(&document.text).0.into_iter().enumerate() {
            let (spans, plain) = code_spans(line);
            let mut fault = |what: &str| wrong.push(format!("{}:{}: {what}", document.path, number + 1));
            for target in links(&plain).into_iter().filter(|target| !target.contains("://")) {
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let relative = if path.is_empty() { document.path.clone().into() } else { folder.join(path) };
                let Some(file) = within(&relative).map(|file| repository().join(file)).filter(|file| file.exists())
                else {
                    fault(&format!("`{target}` leads nowhere"));
                    continue;
                };
                if !anchor.is_empty() && !anchors(&fs::read_to_string(&file).unwrap()).iter().any(|one| one == anchor) {
                    fault(&format!("`{target}`: no heading has this anchor"));
                }
            }
            // A path from the root is checked where it is one: no pattern, no placeholder, no result of a run.
            for span in spans {
                let committed = ["pipeline/", "stages/", "configs/", "tests/"].iter().any(|top| span.starts_with(top));
                if committed && !span.contains(['*', '<', '…', '{', ' ']) && !repository().join(span).exists() {
                    fault(&format!("there is no `{span}`"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_readme_names_the_command_that_must_pass() {
    let ci = fs::read_to_string(repository().join(".ci/run")).unwrap();
    let tests = ci.lines().filter_map(|line| line.strip_prefix("step ")).find(|step| step.starts_with("cargo test"));
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    assert!(readme.contains(&format!("`{}`", tests.unwrap())), "README.md names other tests than .ci/run");
}

/// Blocks without a language would be compiled as tests of a crate that shows the file as its documentation.
#[test]
fn blocks_of_code_name_their_language() {
    for document in documents() {
        for block in parts(&document.text).1 {
            assert!(!block.language.is_empty(), "{}:{}: name the block's language", document.path, block.line);
        }
    }
}

/// A whole experiment in a text can be planned; of a few stages, only what stands around them may be missing.
#[test]
fn snippets_of_yaml_are_accepted() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for document in documents() {
        for block in parts(&document.text).1.into_iter().filter(|block| block.language == "yaml") {
            let whole = block.text.starts_with("name:");
            // One asset of any name that it uses: a snippet need not say where its files come from.
            let names = block.text.match_indices("asset: ").map(|(at, found)| &block.text[at + found.len()..]);
            let mut assets: Vec<&str> = names.filter_map(|rest| rest.split([' ', ',', '}', '\n']).next()).collect();
            assets.sort_unstable();
            assets.dedup();
            let assets: String =
                assets.iter().map(|name| format!("  {name}: {{ from: [{{ generate: toy-log }}] }}\n")).collect();
            let around = if assets.is_empty() { String::new() } else { format!("assets:\n{assets}") };
            let text =
                if whole { block.text.clone() } else { format!("name: snippet\n{around}stages:\n{}", block.text) };
            seen += 1;
            let ended = Project::new().config(&text).run(&["plan", "x.yaml", "--json"]);
            let said: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
            let faults = said["diagnostics"].as_array().cloned().unwrap_or_default();
            let missing = |message: &str| {
                // `rl.mine` is the learner that a reader is about to write.
                let beyond = ["there is no stage", "was built for NVIDIA GPUs", "`rl.mine`"];
                !whole && beyond.iter().any(|part| message.contains(part))
            };
            let faults: Vec<&str> = faults
                .iter()
                .filter_map(|fault| fault["message"].as_str())
                .filter(|message| !missing(message))
                .collect();
            wrong.extend(faults.iter().map(|fault| format!("{}:{}: {fault}", document.path, block.line)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 5, "only {seen} snippets were found");
}

/// The table of protocols is what readers copy into `simulator`.
#[test]
fn protocols_are_settings_of_a_world() {
    let text = fs::read_to_string(repository().join("stages/src/world/README.md")).unwrap();
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| "))
        .filter_map(|line| line.rsplit_once(" | ").map(|cells| cells.1));
    let settings: Vec<&str> =
        rows.filter_map(|cell| code_spans(cell).0.first().copied()).filter(|span| span.contains(':')).collect();
    assert_eq!(settings.len(), 9, "{settings:?}");
    for simulator in settings {
        let experiment = format!(
            "name: protocol\nassets: {{ toy: {{ from: [{{ generate: toy-log }}] }} }}\nstages:\n  \
             log: {{ use: ingest.recbole, with: {{ asset: toy }} }}\n  \
             world:\n    use: world.bias\n    \
             inputs: {{ interactions: log.interactions, items: log.items, users: log.users }}\n    \
             with: {{ simulator: {{ {simulator} }} }}\n"
        );
        Project::new().config(&experiment).ok(&["plan", "x.yaml"]);
    }
}

/// The ports of one side: `one`, `maybe?`, `several…`.
fn ports(specs: &[PortSpec]) -> String {
    let mark = |arity| match arity {
        Arity::One => "",
        Arity::Optional => "?",
        Arity::Many => "…",
    };
    specs.iter().map(|port| format!("{}{}", port.name, mark(port.arity))).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_table_of_stages_is_what_the_stages_say() {
    let mut table = String::from("| stage | reads | writes | what it does |\n|---|---|---|---|\n");
    for row in stages::CATALOG.stages {
        let (reads, writes) = (ports(&(row.inputs)()), ports(&(row.outputs)()));
        let reads = if reads.is_empty() { "files".to_owned() } else { reads };
        table += &format!("| `{}` | {reads} | {writes} | {} |\n", row.kind, row.about);
    }
    let path = repository().join(TABLE);
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the marks around the table");
    let (now, after) = rest.split_once(END).expect("the marks around the table");
    if std::env::var_os(ACCEPT).is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert!(
        now == table,
        "the table in {TABLE} is out of date; write it with\n  {ACCEPT}=1 cargo test --release --locked --workspace docs"
    );
}
