//! The frame of all pages, and texts in it.

use std::fmt::Write;

use crate::secret::redact;
use crate::serve::PageReply;

/// Nothing is fetched, nothing is run, nobody frames it.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--dim:#777;--ok:#1a7f37;--bad:#cf222e;--now:#9a6700;--hit:#57606a}\
@media(prefers-color-scheme:dark){:root{--dim:#9aa;--ok:#3fb950;--bad:#ff7b72;--now:#e3b341;--hit:#9aa4af}}\
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:75rem;padding:0 1rem 3rem}\
nav{border-bottom:1px solid var(--line);margin-bottom:1rem;padding:.7rem 0}nav a{margin-right:1rem}\
h1{font-size:1.35rem;margin:.6rem 0}h2{font-size:1.1rem;margin:1.4rem 0 .5rem}\
table{border-collapse:collapse}td,th{border-bottom:1px solid var(--line);padding:.25rem .7rem .25rem 0;text-align:left;vertical-align:top}\
th{color:var(--dim);font-weight:500}.wide{overflow-x:auto}pre{overflow-x:auto;font-size:13px;line-height:1.35}\
.ok,.ran{color:var(--ok)}.failed,.killed{color:var(--bad)}.running,.partial,.submitted,.interrupted{color:var(--now)}.hit{color:var(--hit)}\
.dim,.not.started{color:var(--dim)}.num{text-align:right}a{color:inherit}input,button{font:inherit}input[type=text]{width:min(36rem,80vw)}\
svg text{font:12px system-ui,sans-serif;fill:currentColor}";

/// A text within HTML, without any secret.
pub(super) fn text(text: &str) -> String {
    let mut out = String::new();
    for c in redact(text).chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

/// A part of an address.
pub(super) fn path(part: &str) -> String {
    let mut out = String::new();
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// A whole page. `body` is HTML; `again` are the seconds after which the browser asks again.
pub(super) fn page(title: &str, body: &str, again: Option<u32>) -> PageReply {
    let again = again.map(|seconds| format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">")).unwrap_or_default();
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">{again}\
         <title>{0} · apprentice</title><style>{STYLE}</style></head>\n<body><nav><a href=\"/\"><b>apprentice</b></a> <a href=\"/\">runs</a></nav>\n\
         <h1>{0}</h1>\n{body}\n</body></html>\n",
        text(title)
    );
    PageReply::html(200, html).with("content-security-policy", POLICY.into())
}

/// A report: whatever is in it, it is by itself.
pub(super) fn report(html: String) -> PageReply {
    let policy = "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
    PageReply::html(200, html).with("content-security-policy", policy.into())
}

/// A page that says why there is none.
pub(super) fn refusal(status: u16, what: &str, help: &str) -> PageReply {
    refused(status, &format!("{what}\nhelp: {help}"))
}

/// The same of an error with its help.
pub(super) fn refused(status: u16, error: &str) -> PageReply {
    let mut reply = page("No such thing", &format!("<pre class=\"failed\">{}</pre>", text(error)), None);
    reply.status = status;
    reply
}

/// A table: its heads, and rows of HTML.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut out = String::from("<div class=\"wide\"><table><tr>");
    heads.iter().for_each(|head| out += &format!("<th>{}</th>", text(head)));
    out += "</tr>\n";
    for row in rows {
        out += "<tr>";
        row.iter().for_each(|cell| out += &format!("<td>{cell}</td>"));
        out += "</tr>\n";
    }
    out + "</table></div>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_place() {
        assert_eq!(text("<a href='x'>&\"</a>"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;");
        assert_eq!(path("policy@seed=3/../ü"), "policy%40seed%3D3%2F..%2F%C3%BC");
        let reply = refused(400, "<script>");
        let html = String::from_utf8(reply.body).unwrap();
        assert!(reply.status == 400 && html.contains("&lt;script&gt;") && !html.contains("<script>"));
    }
}
