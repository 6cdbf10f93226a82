//! Files of any size, depth and spelling: read soon, or refused soon and at the right place.

use std::time::{Duration, Instant};

use super::{HEAD, faults, same};
use crate::diagnostic::MOST;
use crate::spec::toy::{GOOD, good, load_text};
use crate::spec::tree;

/// Much more than is needed, and much less than a search that grows with the square of the file.
const SOON: Duration = Duration::from_secs(10);

/// A file of `lines` lines: a log, and worlds that read it.
fn long(lines: usize) -> String {
    let mut text = HEAD.to_owned();
    for index in text.lines().count()..lines {
        text += &format!(
            "  w{index}: {{ use: fit, inputs: {{ interactions: log.interactions }}, with: {{ seed: {index} }} }}\n"
        );
    }
    text
}

/// What becomes of a text as a tree.
fn parse(text: &str) -> String {
    let mut errors = Vec::new();
    tree::parse(text, 0, 0, &mut errors).map_or_else(|| errors[0].message.clone(), |_| "read".into())
}

#[test]
fn ten_thousand_lines_are_read_soon_and_a_fault_in_them_is_found_at_its_line() {
    let start = Instant::now();
    let text = long(10_000);
    assert_eq!(good(&text, &[]).nodes.len(), 9_997);
    let broken = text.replace("seed: 9876 }", "seed: nine }");
    same(
        faults(&broken, &[]),
        &[
            "toy.yaml:9877:80 nine | `seed` takes a whole number, 0 or more, not the text \"nine\" | `seed`: Seed of the first weights; for example `seed: 0`",
        ],
    );
    let open = text.replace("{ seed: 9999 } }", "{ seed: 9999 }");
    same(
        faults(&open, &[]),
        &[
            "toy.yaml:10000:85 } | invalid YAML: while parsing a flow mapping, did not find expected ',' or '}' | look at the indentation here, and at the quotes and brackets of the lines above",
        ],
    );
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn a_file_that_is_wrong_everywhere_ends_after_the_first_faults() {
    let start = Instant::now();
    let keys: String = (0..5_000).map(|index| format!("      k{index}: 1\n")).collect();
    let twice = "      seed: 1\n".repeat(5_000);
    for wrong in [
        long(10_000).replace("seed", "sede"),
        long(10_000).replace("log.interactions", "lg.interactions"),
        long(10_000).replace("use: fit", "use: fti"),
        format!("{HEAD}  x:\n    use: report\n    with:\n{keys}"),
        format!("{HEAD}  x:\n    use: report\n    with:\n{twice}"),
        format!("{HEAD}{keys}"),
        format!(
            "{HEAD}  x: {{ use: fit, inputs: {{ interactions: log.interactions }}, sweep: {{ seed: {:?} }} }}",
            [0.5; 300]
        ),
    ] {
        let Err(all) = load_text(&wrong, &[]) else { panic!("this should not load") };
        assert!((1..=MOST).contains(&all.list().len()), "{}", all.list().len());
        let text = all.to_string();
        assert!(
            all.list().len() < MOST
                || text.ends_with("the first 200 errors in toy.yaml\n")
                || text.contains("the first 200 errors in "),
            "{}",
            &text[text.len() - 200..]
        );
    }
    assert!(start.elapsed() < SOON * 3, "{:?}", start.elapsed());
}

#[test]
fn a_cycle_of_ten_thousand_stages_is_told_soon_and_in_few_words() {
    let stage =
        |n: usize| format!("  s{n}: {{ use: fit, inputs: {{ interactions: s{}.interactions }} }}\n", (n + 1) % 10_000);
    let text = format!("name: round\nstages:\n{}", (0..10_000).map(stage).collect::<String>());
    let start = Instant::now();
    let Err(all) = load_text(&text, &[]) else { panic!("this should not load") };
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    let first =
        "`s0` reads `s1`, `s1` reads `s2`, `s2` reads `s3`, `s3` reads `s4`, …, and `s9999` reads `s0`, so none";
    assert!(all.list()[0].message.starts_with(first), "{}", all.list()[0].message);
}

#[test]
fn hostile_depths_and_bombs_are_refused() {
    const TOO_MUCH: &str = "the values are nested too deeply or too many";
    assert_eq!(parse(&"- ".repeat(100)), TOO_MUCH);
    assert_eq!(parse(&format!("{}x", "- ".repeat(100_000))), TOO_MUCH);
    for deep in ["[".repeat(100_000), "{a: ".repeat(100_000), "? ".repeat(100_000), "- [".repeat(50_000)] {
        assert_ne!(parse(&deep), "read");
    }
    let nested: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert_eq!(parse(&nested), TOO_MUCH);
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..8 {
        let list = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    assert_eq!(parse(&bomb), TOO_MUCH);
    // Of maps, in a chain, and through an override.
    let mut chain = String::from("a0: &a0 { k: 1 }\n");
    for level in 1..40 {
        chain.push_str(&format!("a{level}: &a{level} {{ l: *a{0}, r: *a{0} }}\n", level - 1));
    }
    assert_eq!(parse(&chain), TOO_MUCH);
    // Anchors within anchors, each of which keeps all that is below it.
    let anchors: String = (0..58).map(|depth| format!("&a{depth} [")).collect();
    let below = |values: usize| format!("{anchors}{}{}", "x, ".repeat(values), "]".repeat(58));
    assert_eq!((&*parse(&below(1_000)), &*parse(&below(4_000))), ("read", TOO_MUCH));
    let set = format!("stages.world.with.layers={}", "[".repeat(500));
    assert!(load_text(GOOD, &[&set]).is_err());
    let path = format!("stages.world.with.model{}=1", ".factors".repeat(5_000));
    assert!(load_text(GOOD, &[&path]).is_err());
    let start = Instant::now();
    let many: String = (0..50_000).map(|index| format!("- &a{index} x\n- *a{index}\n")).collect();
    assert_eq!(parse(&many), "read");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn sweeps_that_multiply_are_stopped() {
    let values = |count: usize| format!("{:?}", (0..count).collect::<Vec<_>>());
    let follow: String = (0..60).map(|at| format!("  p{at}: {{ use: learn.a2c, inputs: {{ world: w }} }}\n")).collect();
    let swept = |count| {
        format!(
            "{HEAD}  w: {{ use: fit, inputs: {{ interactions: log.interactions }}, sweep: {{ seed: {} }} }}\n",
            values(count)
        )
    };
    let Err(all) = load_text(&format!("{}{follow}", swept(2_000)), &[]) else { panic!("124,000 stages") };
    assert_eq!(all.list()[0].message, "with `p48` the sweeps make too many stages, or connections between them");
    // Looked at before the values are: of equal ones each would be a fault.
    let equal = swept(1).replace("[0]", &format!("{:?}", [0; 10_001]));
    let Err(all) = load_text(&equal, &[]) else { panic!("10,001 cells") };
    assert_eq!(all.list()[0].message, "the sweep has more than 10000 cells");
    let collect = "  p: { use: learn.a2c, inputs: { world: w } }\n  s: { use: score, inputs: { world: w, policies: p.policy } }\n";
    let Err(all) = load_text(&format!("{}{collect}", swept(1_500)), &[]) else { panic!("2,250,000 connections") };
    assert_eq!(all.list()[0].message, "with `s` the sweeps make too many stages, or connections between them");
}

#[test]
fn a_name_is_never_a_path() {
    let name = |name: &str| format!("name: {name}\nstages: {{ a: {{ use: report }} }}\n");
    let stage = |name: &str| format!("name: t\nstages:\n  {name}: {{ use: report }}\n");
    let asset = |name: &str| {
        format!(
            "name: t\nassets:\n  {name}: {{ from: [{{ generate: toy-log }}] }}\nstages: {{ a: {{ use: report }} }}\n"
        )
    };
    let long = "a".repeat(65);
    for odd in [
        "..",
        ".",
        "../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "'a b'",
        "ä",
        "'a\u{7f}b'",
        "\"a\\0b\"",
        "\"a\\nb\"",
        "\"\\e[31m\"",
        "'con:'",
        "a@b",
        "a=b",
        "'a,b'",
        "a.b",
        "-a",
        "_a",
        "''",
        &long,
        "\u{202e}abc",
        "\u{feff}a",
        "$HOME",
        "'*'",
        "~x",
    ] {
        for text in [name(odd), stage(odd), asset(odd)] {
            let Err(all) = load_text(&text, &[]) else { panic!("this should not load:\n{text}") };
            let refused = |message: &str| message.contains("no name for") || message.contains("a byte order mark");
            assert!(all.list().iter().any(|fault| refused(&fault.message)), "{text}{all}");
        }
    }
    let at_most = "a".repeat(64);
    assert_eq!(good(&name(&at_most), &[]).name, at_most);
    let member = |member: &str| {
        format!(
            "name: t\nassets: {{ m: {{ from: [{{ pip: a==1, member: {member} }}] }} }}\nstages: {{ a: {{ use: report }} }}\n"
        )
    };
    for odd in ["../x", "/etc/passwd", "a/../../b", "a//b", "'a\\b'", "C:/x", "\"a\\0\"", ".", "''"] {
        let all = load_text(&member(odd), &[]).err().unwrap_or_else(|| panic!("{odd} should not load"));
        assert!(all.list()[0].message.contains("a path inside the package is wanted"), "{all}");
    }
    // Whatever is swept, its cell is a plain name.
    let sweep = format!(
        "{HEAD}  x: {{ use: fit, inputs: {{ interactions: log.interactions }}, sweep: {{ model: [{{ '../..': 1 }}] }} }}"
    );
    assert!(load_text(&sweep, &[]).is_err());
    let values = r#"["../x", "/", "..", "a b", "\0", "\e[31m", "ü", "a,b", "a=b", "a@b", ""]"#;
    let sweep =
        format!("{}  y: {{ use: ingest, sweep: {{ user_column: {values} }}, with: {{ asset: rows }} }}\n", HEAD);
    for node in good(&sweep, &[]).nodes {
        let safe = |c: char| c.is_ascii_alphanumeric() || "._-+=@,".contains(c);
        assert!(node.id.chars().all(safe) && node.id.len() < 250, "{}", node.id);
    }
}

#[test]
fn numbers_of_any_size_are_told_apart_or_refused() {
    let with = |value: &str| {
        let text = format!(
            "{HEAD}  x: {{ use: fit, inputs: {{ interactions: log.interactions }}, with: {{ seed: {value} }} }}\n"
        );
        match load_text(&text, &[]) {
            Ok(experiment) => experiment.nodes[2].config.config()["seed"].to_string(),
            Err(all) => all.list()[0].message.clone(),
        }
    };
    assert_eq!(with("18446744073709551615"), "18446744073709551615");
    for (value, wanted) in [
        ("18446744073709551616", "takes a whole number"),
        ("-1", "takes a whole number"),
        ("1e400", "takes a whole number"),
        ("-.inf", "is not a finite number"),
        (".nan", "is not a finite number"),
        ("1e-400", "takes a whole number"),
        ("'1'", "takes a whole number"),
        ("1.0", "takes a whole number"),
        (&"9".repeat(400), "takes a whole number"),
        (&format!("0x{}", "f".repeat(400)), "takes a whole number"),
    ] {
        assert!(with(value).contains(wanted), "{value}: {}", with(value));
    }
}

#[test]
fn odd_characters_are_shown_so_that_they_harm_no_terminal() {
    let texts = [
        "\u{0}",
        "a: \u{0}b\n",
        "name: \"\\e[31mred\\e[0m\"\n",
        "name: t\nstages: { \"\\x1b[2J\": {} }\n",
        "\u{85}: 1\n",
        "name: \u{9b}31m\n",
        "name: \u{202e}abc\n",
        "\rname: \u{7f}\n",
        "name: \u{200b}\u{2028}a\n",
        "name: t # \u{61c}\u{feff}\nstages: 3 # \u{200e}\u{200f}\n",
    ];
    for text in texts {
        let Err(all) = load_text(text, &[]) else { panic!("this should not load: {text:?}") };
        let shown = all.to_string();
        assert!(!shown.chars().any(|c| crate::escape::is_unsafe(c) && c != '\n'), "{shown:?}");
    }
}

#[test]
fn marks_and_line_ends_of_other_systems() {
    let crlf = GOOD.replace('\n', "\r\n");
    assert_eq!(good(&crlf, &[]).nodes.len(), good(GOOD, &[]).nodes.len());
    assert_eq!(good(&format!("\u{feff}{crlf}"), &[]).nodes.len(), 9);
    same(
        faults(&crlf.replace("seed: [0", "sede: [0"), &[]),
        &["toy.yaml:13:14 sede | unknown key `sede` in the config of learn.a2c | did you mean `seed`?"],
    );
    let old_mac = GOOD.replace('\n', "\r");
    assert_eq!(good(&old_mac, &[]).nodes.len(), 9);
    let Err(all) = load_text(&GOOD.replace("  world:", "\tworld:"), &[]) else { panic!("tabs do not indent") };
    assert!(all.list()[0].help.as_deref() == Some("indent with spaces, not with tabs"), "{all}");
    let utf16: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.yaml");
    for bytes in [utf16, vec![0xff, 0xfe], b"name: \xc0\xaf\n".to_vec(), vec![0; 100]] {
        std::fs::write(&path, bytes).unwrap();
        assert!(crate::spec::load(&path, &[], &crate::spec::toy::CATALOG).is_err());
    }
}
