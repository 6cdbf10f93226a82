//! A run as Markdown, to be pasted into an issue or a paper's notes. Text from data is escaped: it makes no cell, no link, no
//! tag and calls no user.

use pipeline::escape::is_unsafe;
use pipeline::report::RunSummary;

use crate::artifact::{Estimates, RankingMetrics};
use crate::report::findings::cost::Cost;
use crate::report::findings::evaluation_table::Table;
use crate::report::findings::{latency, off_policy, provenance_checks, ranking, teachers};
use crate::report::render::run_info;
use crate::report::table::{format, metric_labels};

/// One run with its tables.
pub(in crate::report) fn run(
    ran: &RunSummary,
    tables: &[Table],
    rankings: &[(&str, RankingMetrics)],
    estimates: &[(&str, Estimates)],
) -> String {
    let mut text = format!("# {}\n\n", escape(&ran.experiment));
    for table in tables {
        if tables.len() > 1 {
            text += &format!("## {}\n\n", escape(table.stage));
        }
        text += &rows(table);
        text += &paragraph(&table.differences());
        text += &list("Caveats", &table.caveats());
    }
    for (stage, metrics) in rankings {
        text += &format!("## Ranking of held-out interactions ({})\n\n", escape(stage));
        for ranking::RankingTable { heads, lines, .. } in ranking::tables(metrics) {
            let lines: Vec<_> = [heads].into_iter().chain(lines).collect();
            text +=
                &table(&lines.iter().map(|line| line.iter().map(|cell| escape(cell)).collect()).collect::<Vec<_>>());
        }
        text += &paragraph(&ranking::sentences(metrics));
    }
    for (stage, estimates) in estimates {
        text += &format!("## Off-policy estimates ({})\n\n", escape(stage));
        text += &off_policy(estimates);
        text += &paragraph(&off_policy::sentences(estimates));
    }
    text += "## Run\n\n";
    text += &facts(ran);
    text += &list("Warnings from the run record", &provenance_checks::findings(ran, None));
    text += &times(ran);
    text += &models(ran, tables);
    text += &stages(ran);
    text + &fenced("yaml", &ran.config)
}

fn rows(table: &Table) -> String {
    let mut lines = vec![vec!["row".to_owned()]];
    lines[0].extend(metric_labels::MAIN.map(metric_labels::label));
    lines[0].extend(["seeds", "episodes", "remark"].map(str::to_owned));
    for row in &table.rows {
        let mut line = vec![escape(&row.name)];
        line.extend(
            metric_labels::MAIN
                .map(|name| row.get(name).map_or("–".to_owned(), |e| metric_labels::formatted(name, e))),
        );
        line.extend([row.seeds.to_string(), row.episodes.to_string(), escape(&row.remark)]);
        lines.push(line);
    }
    self::table(&lines)
}

fn off_policy(estimates: &Estimates) -> String {
    let head =
        ["policy", "estimator", "value", "effective sample size", "logged", "conclusive", "remark"].map(str::to_owned);
    let mut lines = vec![head.to_vec()];
    for e in &estimates.0 {
        let value = off_policy::formatted(e);
        let conclusive = if e.conclusive { "yes" } else { "no" }.to_owned();
        let policy = escape(format!("{} {}", e.policy, e.cell).trim());
        let sample = format::three_digits(e.effective_sample_size);
        lines.push(vec![
            policy,
            escape(&e.estimator),
            value,
            sample,
            e.rows.to_string(),
            conclusive,
            escape(&e.remark),
        ]);
    }
    table(&lines)
}

fn facts(ran: &RunSummary) -> String {
    let machine = if ran.machine.is_empty() { String::new() } else { format!(": {}", ran.machine) };
    let mut lines = vec![
        vec!["run".to_owned(), format!("{}, {}", escape(&ran.id), escape(&ran.status))],
        vec!["command".to_owned(), escape(&ran.command)],
        vec![
            "program".to_owned(),
            format!("{}, {} threads, {} stages at once", escape(&ran.program), ran.threads, ran.jobs),
        ],
        vec!["machine".to_owned(), escape(&format!("{}{machine}", ran.host))],
        vec![
            "started".to_owned(),
            format!("{}, took {}", escape(&run_info::started(ran)), format::seconds(ran.seconds)),
        ],
    ];
    lines.extend(Cost::of(ran).said().map(|said| vec!["cost".to_owned(), escape(&said)]));
    for asset in run_info::assets(ran) {
        lines.push(vec![
            escape(&format!("asset {}", asset.name)),
            escape(&format!("{} (blake3 {})", asset.origin, asset.digest)),
        ]);
    }
    lines.insert(0, vec!["fact".to_owned(), "value".to_owned()]);
    table(&lines)
}

/// How long one recommendation takes, of each evaluation.
fn times(ran: &RunSummary) -> String {
    let mut text = String::new();
    for speed in latency::speeds(ran) {
        let mut lines =
            vec![["row", "one recommendation", "faster than the language model"].map(str::to_owned).to_vec()];
        lines.extend(speed.rows.iter().map(|row| row.cells().map(|cell| escape(&cell)).to_vec()));
        text += &table(&lines);
        text += &paragraph(&[speed.teacher]);
    }
    text
}

/// What the language models of each table return and take.
fn models(ran: &RunSummary, tables: &[Table]) -> String {
    let mut text = String::new();
    for models in tables.iter().filter_map(|table| teachers::Models::of(ran, table.stage, &table.rows)) {
        let mut lines = vec![teachers::Models::heads()];
        lines.extend(models.cells().iter().map(|cells| cells.iter().map(|cell| escape(cell)).collect::<Vec<_>>()));
        text += &table(&lines);
        text += &paragraph(&[models.said()]);
    }
    text
}

fn stages(ran: &RunSummary) -> String {
    let mut lines = vec![["stage", "kind", "in this run", "time", "seed", "made by"].map(str::to_owned).to_vec()];
    for stage in &ran.stages {
        let version = stage.version.map(|version| format!(" version {version}")).unwrap_or_default();
        lines.push(vec![
            escape(&stage.name),
            escape(&format!("{}{version}", stage.kind)),
            escape(&stage.status),
            stage.made_in_seconds.map_or("–".to_owned(), format::seconds),
            run_info::seed(&stage.config).map_or("–".to_owned(), |seed| seed.to_string()),
            escape(&run_info::made_elsewhere(ran, stage).unwrap_or_else(|| "this run".to_owned())),
        ]);
    }
    table(&lines)
}

/// A table of cells that are escaped already; the first line is its head.
pub(in crate::report) fn table(lines: &[Vec<String>]) -> String {
    let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
    let Some((head, body)) = lines.split_first() else { return String::new() };
    let rule = format!("|{}\n", " --- |".repeat(head.len()));
    format!("{}{rule}{}\n", line(head), body.iter().map(line).collect::<String>())
}

pub(in crate::report) fn paragraph(sentences: &[String]) -> String {
    let escaped: Vec<_> = sentences.iter().map(|sentence| escape(sentence)).collect();
    if escaped.is_empty() { String::new() } else { format!("{}\n\n", escaped.join(" ")) }
}

pub(in crate::report) fn list(title: &str, sentences: &[String]) -> String {
    let items: String = sentences.iter().map(|sentence| format!("- {}\n", escape(sentence))).collect();
    if items.is_empty() { String::new() } else { format!("**{title}**\n\n{items}\n") }
}

/// A block of code, whatever backticks are in it.
fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

/// A text as plain words inside a line.
pub(in crate::report) fn escape(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // A name behind it would be called, or mailed.
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '#' | '$' => out.extend(['\\', character]),
            _ if is_unsafe(character) => out.extend(character.escape_unicode()),
            _ => out.push(character),
        }
    }
    // No address becomes a link by itself.
    out.replace("://", "&#58;//").replace("www.", "www&#46;").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{escape, fenced, table};

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(
            escape("a|b\nc <img src=x> [x](https://e) `x` @all"),
            "a\\|b c &lt;img src=x&gt; \\[x\\](https&#58;//e) \\`x\\` &#64;all"
        );
        assert_eq!(escape("\u{1b}[31m\u{202e}"), "\\u{1b}\\[31m\\u{202e}");
        assert_eq!(escape("at 12:00, www.e.org"), "at 12:00, www&#46;e.org");
    }

    #[test]
    fn tables_and_blocks_keep_their_form() {
        let lines = [vec!["a".to_owned(), "b".to_owned()], vec!["1".to_owned(), "2".to_owned()]];
        assert_eq!(table(&lines), "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n");
        assert_eq!(fenced("yaml", "a: ```\n"), "````yaml\na: ```\n````\n");
    }
}
