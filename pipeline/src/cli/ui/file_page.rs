//! An artifact as `inspect` shows it: overview, rows, the answer of a query, episodes.

use serde_json::{Map, Value};

use super::super::inspect::{Target, find, related};
use super::html;
use super::pages::Pages;
use crate::inspect::{Format, Request, Show};
use crate::reason::short;
use crate::serve::{PageReply, PageRequest};
use crate::{UsageError, escape};

/// Rows that a page shows, where nothing else is asked for, and at most.
const ROWS: usize = 50;
const MOST_ROWS: usize = 1000;
/// Kinds of artifacts that hold episodes.
const EPISODES: [&str; 2] = ["demonstrations", "rollouts"];
/// What the names of tables end with.
const TABLES: [&str; 2] = ["parquet", "arrow"];

pub(super) fn file(pages: &Pages, digest: &str, request: &PageRequest) -> anyhow::Result<PageReply> {
    // Nothing else is looked for: a name might be that of a file outside the store.
    if blake3::Hash::from_hex(digest).is_err() {
        return Err(UsageError("a file is named by its whole digest".into()).into());
    }
    let found = find(&pages.store, digest, None, pages.catalog)
        .map_err(|failure| UsageError(format!("{:#}", failure.error)))?;
    let Target::Content(content) = found else { return Err(UsageError("this is no digest of a file".into()).into()) };
    let value = |name: &str| request.values(name).find(|text| !text.trim().is_empty()).map(str::to_owned);
    let (sql, filter) = (value("sql"), value("filter"));
    let head = value("head").and_then(|text| text.parse().ok()).unwrap_or(ROWS).clamp(1, MOST_ROWS);
    let episode = value("episode").map(|text| text.parse::<usize>()).transpose();
    let episode = episode.map_err(|_| UsageError("an episode is a whole number from 0".into()))?;
    let (kind, extension) = content.origin.as_ref().map_or(("", ""), |(_, output)| (&*output.kind, &*output.extension));

    let mut body = String::new();
    if let Some((entry, output)) = &content.origin {
        let made = &entry.made;
        body += &format!(
            "<p>{} of <b>{}</b>, made by run <a href=\"/run/{}\">{}</a>, {}</p>\n",
            html::text(kind),
            html::text(&format!("{}.{}", made.stage, output.port)),
            html::path(&made.run),
            html::text(&made.run),
            html::text(&made.finished)
        );
    }
    if TABLES.contains(&extension) {
        body += &form(head, filter.as_deref(), sql.as_deref());
    }
    if EPISODES.contains(&kind) {
        body += &episodes(episode);
    }
    let asked = Request { name: short(digest), sql: sql.clone(), filter: filter.clone(), ..Request::default() };
    let answer = |request: &Request| {
        let mut bytes = Vec::new();
        (pages.catalog.inspect)(&content.path, request, &mut bytes)?;
        anyhow::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    // Its terminal's colours and signs have no place here.
    let pre = |text: &str| format!("<pre>{}</pre>\n", html::text(&escape::lines(text)));
    let answered = match (episode, sql.is_some() || filter.is_some()) {
        (Some(episode), _) => {
            let related = related(&pages.store, &content)?;
            answer(&Request { show: Show::Episode(episode), related, ..asked }).map(|text| pre(&text))
        }
        (None, true) => answer(&Request { show: Show::Rows, format: Format::Ndjson, head: Some(head), ..asked })
            .map(|lines| table(&lines)),
        (None, false) => answer(&Request { head: Some(0), ..asked.clone() }).and_then(|overview| {
            let rows = match TABLES.contains(&extension) {
                true => answer(&Request { show: Show::Rows, format: Format::Ndjson, head: Some(head), ..asked })?,
                false => String::new(),
            };
            Ok(format!("{}{}", table(&rows), pre(&overview)))
        }),
    };
    let (status, answered) = match answered {
        Ok(html) => (200, html),
        // The question stays in its box, to be put right.
        Err(error) if error.is::<UsageError>() => {
            (400, format!("<pre class=\"failed\">{}</pre>", html::text(&format!("{error:#}"))))
        }
        Err(error) => return Err(error),
    };
    let mut reply = html::page(
        &format!("{} {}", if kind.is_empty() { "file" } else { kind }, short(digest)),
        &(body + &answered),
        None,
    );
    reply.status = status;
    Ok(reply)
}

fn form(head: usize, filter: Option<&str>, sql: Option<&str>) -> String {
    let box_of = |name: &str, value: Option<&str>, hint: &str| {
        format!(
            "<input type=\"text\" name=\"{name}\" value=\"{}\" placeholder=\"{}\" aria-label=\"{name}\">",
            html::text(value.unwrap_or_default()),
            html::text(hint)
        )
    };
    format!(
        "<form><p>rows where {} <button>filter</button></p><input type=\"hidden\" name=\"head\" value=\"{head}\"></form>\n\
         <form><p>query {} <button>ask</button></p><input type=\"hidden\" name=\"head\" value=\"{head}\"></form>\n",
        box_of("filter", filter, "rating >= 4 and title is not null"),
        box_of("sql", sql, "select user, avg(rating) from self group by user"),
    )
}

/// The way to an episode, and from one to the next.
fn episodes(episode: Option<usize>) -> String {
    let link = |at: usize, name: &str| format!("<a href=\"?episode={at}\">{name}</a> ");
    match episode {
        None => format!("<p>{}</p>\n", link(0, "read the episodes")),
        Some(at) => {
            let before = if at > 0 { link(at - 1, "← the one before") } else { String::new() };
            format!("<p>episode {at} · {before}{}</p>\n", link(at + 1, "the next →"))
        }
    }
}

/// Rows, each an object of JSON, as a table.
fn table(lines: &str) -> String {
    let rows: Vec<Map<String, Value>> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let Some(first) = rows.first() else {
        return if lines.is_empty() { String::new() } else { "<p>no row</p>".to_owned() };
    };
    let mut out = String::from("<div class=\"wide\"><table><tr>");
    first.keys().for_each(|name| out += &format!("<th>{}</th>", html::text(name)));
    out += "</tr>\n";
    for row in &rows {
        out += "<tr>";
        for value in row.values() {
            out += &match value {
                Value::Null => "<td class=\"dim\">null</td>".to_owned(),
                Value::String(text) => format!("<td>{}</td>", html::text(text)),
                Value::Number(number) => format!("<td class=\"num\">{number}</td>"),
                other => format!("<td>{}</td>", html::text(&other.to_string())),
            };
        }
        out += "</tr>\n";
    }
    format!("{out}</table></div>\n<p class=\"dim\">{} rows</p>\n", rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_json_are_cells_of_their_type() {
        let html = table("{\"a\":1,\"b\":\"<x>\",\"c\":null,\"d\":[1]}\n{\"a\":2.5,\"b\":\"\",\"c\":true,\"d\":[]}\n");
        assert!(
            html.contains("<td class=\"num\">1</td><td>&lt;x&gt;</td><td class=\"dim\">null</td><td>[1]</td>"),
            "{html}"
        );
        assert!(html.contains("<th>a</th>") && html.contains("2 rows"), "{html}");
        assert_eq!(table(""), "");
    }
}
