//! `apprentice recommend POLICY`: what a trained policy would show next.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde_json::json;

use super::args;
use super::inspect::{ancestors, policy};
use super::session::Session;
use super::{format, print, print_json, talk};
use crate::exit::Failure;
use crate::recommend::{Answer, Asked, Questions};
use crate::{Exit, Wrong};

pub(super) fn recommend(session: &Session, args: &args::Recommend) -> Result<Exit, Failure> {
    let store = session.store();
    let (path, entry) = policy(&store, &args.policy, args.experiment.as_deref())?;
    let beside = entry.map(|entry| ancestors(&store, &entry)).transpose()?.unwrap_or_default();
    let asked = match (&args.user, &args.batch) {
        (Some(user), None) => {
            vec![Asked { user: user.clone(), history: args.history.clone(), rewards: args.reward.clone() }]
        }
        (None, Some(batch)) => questions(batch)?,
        _ => unreachable!("the command line asks for one of the two"),
    };
    let questions = Questions { asked, count: args.count, beside };
    let answers = (session.catalog.recommend)(&path, &questions)?;
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
    print(&to_text(answer))
}

fn to_text(answer: &Answer) -> String {
    let row = |(place, item): (usize, &crate::recommend::Recommended)| {
        vec![
            format!("{:>3}.", place + 1),
            item.title.clone().unwrap_or_default(),
            item.id.clone(),
            format!("{:.3}", item.score),
        ]
    };
    format::columns(&answer.items.iter().enumerate().map(row).collect::<Vec<_>>())
}

/// One question a line; `-` is standard input.
fn questions(path: &Path) -> Result<Vec<Asked>, Failure> {
    let name = path.display();
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("read standard input")?;
    } else {
        text =
            std::fs::read_to_string(path).map_err(|error| Failure::wrong(anyhow!("cannot read `{name}`: {error}")))?;
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let question = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| {
            let help = r#"help: each line is an object such as {"user": "196", "history": ["242"]}"#;
            Failure::from(anyhow::Error::new(Wrong(format!("{name}:{number}: {error}\n{help}"))))
        })
    };
    lines.map(question).collect()
}
