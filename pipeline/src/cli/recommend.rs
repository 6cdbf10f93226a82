//! `apprentice recommend POLICY`: what a trained policy would show next.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde_json::json;

use super::inspect::policy;
use super::output::{print, print_json, talk};
use super::session::Session;
use super::{args, format};
use crate::escape::shown;
use crate::exit::Failure;
use crate::recommend::{Answer, RecommendBatch, RecommendQuery};
use crate::{Exit, UsageError};

pub(super) fn recommend(session: &Session, args: &args::Recommend) -> Result<Exit, Failure> {
    let store = session.store();
    let path = policy(&store, &args.policy, args.experiment.as_deref(), session.catalog)?;
    let queries = match &args.batch {
        Some(batch) => queries(batch)?,
        None => vec![RecommendQuery {
            user: args.user.clone(),
            history: args.history.clone(),
            rewards: args.reward.clone(),
            exclude: args.exclude.clone(),
            ..RecommendQuery::default()
        }],
    };
    let batch = RecommendBatch {
        queries,
        count: args.count,
        exclude_history: args.exclude_history,
        new_users: args.new_user,
        rows: args.rows,
        explore: None,
    };
    let answers = (session.catalog.load_policy)(&path)?.answer(&batch)?;
    if args.batch.is_some() {
        let lines = answers.answers.iter().map(|answer| json!(answer).to_string() + "\n");
        let done = print(&lines.collect::<String>())?;
        let each = 1e6 * answers.seconds / answers.answers.len().max(1) as f64;
        talk(&format!("{} answers in {:.3} s, {each:.0} µs each", answers.answers.len(), answers.seconds));
        return Ok(done);
    }
    let Some(answer) = answers.answers.first() else { return Ok(Exit::Ok) };
    if session.global.json {
        return print_json(json!({ "answer": answer, "seconds": answers.seconds }));
    }
    if answer.new_user {
        talk("a new user: answered from the history alone, with the mean of all users' vectors");
    }
    if let Some(note) = &answer.note {
        talk(note);
    }
    print(&to_text(answer))
}

fn to_text(answer: &Answer) -> String {
    let row = |(place, item): (usize, &crate::recommend::Recommended)| {
        vec![
            format!("{:>3}.", place + 1),
            // A title is somebody else's text: it must not break the table, nor widen it for all.
            shown(item.title.as_deref().unwrap_or_default(), 80),
            shown(&item.id, 80),
            format!("{:.3}", item.score),
            if item.new_item { "new: scored by its columns".to_owned() } else { String::new() },
        ]
    };
    format::columns(&answer.items.iter().enumerate().map(row).collect::<Vec<_>>())
}

/// One question a line; `-` is standard input.
fn queries(path: &Path) -> Result<Vec<RecommendQuery>, Failure> {
    let name = path.display();
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("read standard input")?;
    } else {
        text = std::fs::read_to_string(path).map_err(|error| {
            let help = "give the path of a text file with one question a line, or `-` for standard input";
            Failure::usage(anyhow!("cannot read `{name}`: {error}\nhelp: {help}"))
        })?;
    }
    // A byte-order mark, as some editors write one, is no part of the first question.
    let text = text.trim_start_matches('\u{feff}');
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let question = |(number, line): (usize, &str)| {
        let place = format!("{name}:{number}");
        match RecommendQuery::from_json(line.as_bytes()) {
            Ok(query) => Ok(RecommendQuery { place: Some(place), ..query }),
            Err(error) => {
                let help = r#"help: each line is an object such as {"user": "196", "history": ["242"]}"#;
                Err(Failure::from(anyhow::Error::new(UsageError(format!("{place}: {error}\n{help}")))))
            }
        }
    };
    lines.map(question).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommend::Recommended;

    #[test]
    fn a_hostile_title_keeps_its_line_and_width() {
        let item = |id: &str, title: &str| Recommended {
            id: id.into(),
            title: Some(title.into()),
            score: 0.0,
            new_item: false,
        };
        let items = vec![item("1", "a\nb\u{1b}[31m"), item("2", &"x".repeat(10_000))];
        let text = to_text(&Answer { user: None, new_user: true, items, note: None, propensities: vec![] });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains(r"a\nb\u{1b}[31m") && lines[1].contains("xxx…"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() < 110), "{text}");
    }
}
