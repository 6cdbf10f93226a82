//! What an experiment says about an asset: where it can be had, and by which digest it is known.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A model or data set that the experiment uses: where to get it and, where known, its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssetSpec {
    /// SHA-256 that the content must have, as 64 hex digits; recorded at the first fetch where absent. Of a folder it is
    /// the SHA-256 of its listing: for each file, in the byte order of the paths, the path relative to the folder with `/`
    /// between its parts, a zero byte, the SHA-256 of the file in lower-case hex, and a line feed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where it can be had; tried in this order until one gives it.
    pub from: Vec<Source>,
}

/// One place where an asset can be had: exactly one of `url`, `pip`, `generate` and `path`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A file at an `https://` address; with `member`, a zip archive there. A list, with `concatenate`: the parts of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<OneOrMore>,
    /// A Python package with its version (`recbole==1.2.1`), downloaded with the machine's own pip and never installed;
    /// needs `member`. A list, with `concatenate`: packages that hold the parts of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pip: Option<OneOrMore>,
    /// What to take out of the package or archive: the path of a file, or of a folder with a `/` at its end. In the path of
    /// a file `*` stands for any text without `/` (`*/data/part*.bin`); exactly one file must fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Join the files that the list `pip` or `url` gives, in its order, to one; `sha256` is that of the whole. Required with
    /// a list, and refused without one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub concatenate: bool,
    /// The name of a small asset that the program makes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<String>,
    /// A file or folder of this machine, relative to the experiment file. It is used where it lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// One text, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text or a list of texts is wanted")]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Several, in this order.
    More(Vec<String>),
}

impl From<&str> for OneOrMore {
    fn from(text: &str) -> Self {
        Self::One(text.to_owned())
    }
}

/// A [`Source`] that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Url(&'a str),
    /// A member of the zip archive at an address.
    Archive {
        url: &'a str,
        member: &'a str,
    },
    Pip {
        requirement: &'a str,
        member: &'a str,
    },
    Generate(&'a str),
    Path(&'a str),
    Parts(Parts<'a>),
}

/// Files that are joined to one, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// Packages or addresses.
    texts: &'a [String],
    member: Option<&'a str>,
    /// The setting that lists them: `pip` or `url`.
    field: &'static str,
}

impl AssetSpec {
    /// What no type can say.
    ///
    /// # Errors
    /// The path below the asset at fault, such as `from[1].member`, and a sentence.
    pub fn check(&self) -> Result<(), (String, String)> {
        if let Some(digest) = &self.sha256
            && !(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            let found =
                format!("a SHA-256 is 64 hex digits, found {} characters in `{digest}`", digest.chars().count());
            return Err(("sha256".into(), found));
        }
        if self.from.is_empty() {
            return Err(("from".into(), "names no source: give one of `url`, `pip`, `generate`, `path`".into()));
        }
        for (index, source) in self.from.iter().enumerate() {
            source.kind().map_err(|(field, sentence)| {
                let dot = if field.is_empty() { "" } else { "." };
                (format!("from[{index}]{dot}{field}"), sentence)
            })?;
        }
        Ok(())
    }

    /// The wanted SHA-256 in lower case.
    pub(super) fn wanted(&self) -> Option<String> {
        self.sha256.as_ref().map(|digest| digest.to_ascii_lowercase())
    }
}

impl Source {
    /// The one kind of this source, or the field at fault and a sentence.
    pub(super) fn kind(&self) -> Result<Kind<'_>, (String, String)> {
        let fault = |field: &str, sentence: &str| Err((field.to_owned(), sentence.to_owned()));
        let (kind, is_list) = match (&self.url, &self.pip, &self.generate, &self.path) {
            (Some(url), None, None, None) => self.listed("url", url)?,
            (None, Some(pip), None, None) => self.listed("pip", pip)?,
            (None, None, Some(name), None) => (Kind::Generate(name), false),
            (None, None, None, Some(path)) => (Kind::Path(path), false),
            (None, None, None, None) => {
                return fault("", "names no source: give one of `url`, `pip`, `generate`, `path`");
            }
            _ => return fault("", "give exactly one of `url`, `pip`, `generate`, `path`"),
        };
        if self.member.is_some() && self.pip.is_none() && self.url.is_none() {
            let sentence = "`member` takes something out of a package or an archive and goes with `pip` or `url`";
            return fault("member", sentence);
        }
        if self.concatenate && !is_list {
            return fault("concatenate", "joins the files of a list and goes with `pip: [...]` or `url: [...]`");
        }
        kind.check().map(|()| kind)
    }

    /// The kind of one text or of a list in `field`, and whether it is a list.
    fn listed<'a>(&'a self, field: &'static str, texts: &'a OneOrMore) -> Result<(Kind<'a>, bool), (String, String)> {
        let member = self.member.as_deref();
        if field == "pip" && member.is_none() {
            let package = match texts {
                OneOrMore::One(text) => format!("the package `{text}`"),
                OneOrMore::More(_) => "each package".to_owned(),
            };
            return Err(("member".into(), format!("say which file or folder/ of {package} to take")));
        }
        match texts {
            OneOrMore::One(text) => Ok((Kind::single(field, text, member), false)),
            OneOrMore::More(_) if !self.concatenate => {
                let sentence = "the files of a list are joined in its order: add `concatenate: true`";
                Err((field.into(), sentence.into()))
            }
            OneOrMore::More(texts) => Ok((Kind::Parts(Parts { texts, member, field }), true)),
        }
    }
}

impl<'a> Parts<'a> {
    pub(super) fn kinds(self) -> impl ExactSizeIterator<Item = Kind<'a>> {
        self.texts.iter().map(move |text| Kind::single(self.field, text, self.member))
    }

    fn check(self) -> Result<(), (String, String)> {
        if self.texts.is_empty() {
            return Err((self.field.into(), "lists nothing".into()));
        }
        if let Some(member) = self.member.filter(|member| member.ends_with('/')) {
            return Err(("member".into(), format!("files are joined, and `{member}` is a folder")));
        }
        for (index, (kind, text)) in self.kinds().zip(self.texts).enumerate() {
            let place = format!("{}[{index}]", self.field);
            kind.check().map_err(
                |(field, sentence)| if field == self.field { (place.clone(), sentence) } else { (field, sentence) },
            )?;
            if self.texts[..index].contains(text) {
                return Err((place, format!("`{text}` is in the list twice")));
            }
        }
        Ok(())
    }
}

impl<'a> Kind<'a> {
    /// The kind of one text in `field`.
    fn single(field: &str, text: &'a str, member: Option<&'a str>) -> Self {
        match member {
            Some(member) if field == "pip" => Self::Pip { requirement: text, member },
            Some(member) => Self::Archive { url: text, member },
            None => Self::Url(text),
        }
    }
}

impl Kind<'_> {
    fn check(self) -> Result<(), (String, String)> {
        let fault = |field: &str, sentence: String| Err((field.to_owned(), sentence));
        match self {
            Self::Url(url) => check_url(url).or_else(|sentence| fault("url", sentence)),
            Self::Archive { url, member } => {
                check_url(url).or_else(|sentence| fault("url", sentence))?;
                check_member(member, "archive").or_else(|sentence| fault("member", sentence))
            }
            Self::Pip { requirement, .. } if !is_pinned(requirement) => {
                fault("pip", format!("write `package==version`, found `{requirement}`"))
            }
            Self::Pip { member, .. } => check_member(member, "package").or_else(|sentence| fault("member", sentence)),
            Self::Generate("") => fault("generate", "is empty".into()),
            Self::Path("") => fault("path", "is empty".into()),
            Self::Generate(_) | Self::Path(_) => Ok(()),
            Self::Parts(parts) => parts.check(),
        }
    }

    /// The last part of the address: the name under which a person would save it. Where several files may have it, none.
    pub(super) fn basename(self) -> Option<String> {
        let path = match self {
            Self::Url(url) => url.split(['?', '#']).next()?.split_once("://")?.1.split_once('/')?.1,
            Self::Pip { member, .. } | Self::Archive { member, .. } => member,
            Self::Path(path) => path,
            Self::Generate(name) => name,
            Self::Parts(_) => return None,
        };
        let name = path.trim_end_matches('/').rsplit('/').next()?;
        (is_plain_name(name) && !name.contains('*')).then(|| name.to_owned())
    }

    /// The text that names it in the cache: all of it, also where people read less.
    pub(super) fn cache_text(self) -> String {
        match self {
            Self::Parts(Parts { texts, member, field }) => {
                format!("{field} {} · {}", texts.join(" + "), member.unwrap_or_default())
            }
            _ => self.to_string(),
        }
    }

    /// Whether it gives a folder; `None` where only a look at it tells.
    pub(super) fn is_folder(self) -> Option<bool> {
        match self {
            Self::Url(_) | Self::Parts(_) => Some(false),
            Self::Pip { member, .. } | Self::Archive { member, .. } => Some(member.ends_with('/')),
            Self::Path(_) | Self::Generate(_) => None,
        }
    }
}

/// How people read a source.
impl std::fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Archive { url, member } => write!(f, "{url} · {member}"),
            Self::Pip { requirement, member } => write!(f, "pip {requirement} · {member}"),
            Self::Generate(name) => write!(f, "generate {name}"),
            Self::Path(path) => write!(f, "path {path}"),
            Self::Parts(Parts { texts, member, field }) => {
                let pip = if *field == "pip" { "pip " } else { "" };
                match texts {
                    [] => f.write_str("nothing")?,
                    [only] => write!(f, "{pip}{only}")?,
                    [first, .., last] => write!(f, "{pip}{first} … {last} ({} parts)", texts.len())?,
                }
                member.map_or(Ok(()), |member| write!(f, " · {member}"))
            }
        }
    }
}

/// Whether `name` can be one entry of a folder and nothing else.
pub(super) fn is_plain_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0', ':'])
}

/// Whether `path` leads into a folder and never out of it.
pub(super) fn is_inner_path(path: &str) -> bool {
    path.strip_suffix('/').unwrap_or(path).split('/').all(is_plain_name)
}

fn check_member(member: &str, of: &str) -> Result<(), String> {
    if !is_inner_path(member) {
        return Err(format!("a path inside the {of} is wanted, found `{member}`"));
    }
    if member.ends_with('/') && member.contains('*') {
        return Err(format!("`*` is for the path of a file, and `{member}` is a folder"));
    }
    Ok(())
}

fn is_pinned(requirement: &str) -> bool {
    let of = |text: &str, more: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    requirement.split_once("==").is_some_and(|(name, version)| of(name, "._-") && of(version, ".+!_-"))
}

/// Plain `http` is for tests and tunnels on this machine alone: elsewhere anyone on the way could change the bytes.
pub(crate) fn is_loopback(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    matches!(host, "127.0.0.1" | "localhost" | "[::1]")
}

fn check_url(url: &str) -> Result<(), String> {
    if !url.starts_with("https://") && !is_loopback(url) {
        return Err(format!("an address that begins with `https://` is wanted, found `{url}`"));
    }
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("holds a user or password: secrets do not belong into an experiment".into());
    }
    if (Kind::Url(url)).basename().is_none() {
        return Err(format!("names no file: `{url}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(yaml: &str) -> AssetSpec {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn fault(yaml: &str) -> (String, String) {
        spec(yaml).check().unwrap_err()
    }

    #[test]
    fn sources_as_experiments_write_them_pass() {
        for yaml in [
            "from: [{ pip: recbole==1.2.1, member: recbole/dataset_example/ml-100k/ }]",
            "from: [{ url: 'https://example.org/a.gguf?download=1' }, { generate: toy-log }]",
            "from: [{ path: ../logs/mine/ }]",
            "from: [{ pip: [a==1, b==1], member: '*/data/part*.bin', concatenate: true }]",
            "from: [{ url: ['https://example.org/a.1', 'https://example.org/a.2'], concatenate: true }]",
            "from: [{ url: 'http://127.0.0.1:8080/a' }]",
        ] {
            assert_eq!(spec(yaml).check(), Ok(()), "{yaml}");
        }
    }

    #[test]
    fn faults_name_their_place() {
        assert_eq!(fault("{ sha256: abc, from: [{ generate: a }] }").0, "sha256");
        assert_eq!(fault("from: []").0, "from");
        assert_eq!(fault("from: [{ generate: a }, {}]").0, "from[1]");
        assert_eq!(fault("from: [{ generate: a, path: b }]").0, "from[0]");
        assert_eq!(fault("from: [{ pip: a==1 }]").0, "from[0].member");
        assert_eq!(fault("from: [{ path: a, member: b }]").0, "from[0].member");
        assert_eq!(fault("from: [{ pip: a==1, member: ../b }]").0, "from[0].member");
        for pip in ["a", "--editable==1", "a==", "a[b]==1", "a == 1"] {
            assert_eq!(fault(&format!("from: [{{ pip: '{pip}', member: b }}]")).0, "from[0].pip", "{pip}");
        }
    }

    #[test]
    fn a_list_is_joined_and_only_a_list() {
        let parts = |more: &str| fault(&format!("from: [{{ pip: [a==1, b==1], {more} }}]"));
        assert_eq!(parts("member: p").1, "the files of a list are joined in its order: add `concatenate: true`");
        assert_eq!(parts("member: p, concatenate: false").0, "from[0].pip");
        assert_eq!(
            parts("concatenate: true"),
            ("from[0].member".into(), "say which file or folder/ of each package to take".into())
        );
        assert_eq!(parts("member: p/, concatenate: true").1, "files are joined, and `p/` is a folder");
        assert_eq!(fault("from: [{ pip: a==1, member: p, concatenate: true }]").0, "from[0].concatenate");
        assert_eq!(fault("from: [{ path: a, concatenate: true }]").0, "from[0].concatenate");
        assert_eq!(fault("from: [{ pip: a==1, member: 'a*/' }]").0, "from[0].member");
        let listed = |pips: &str| fault(&format!("from: [{{ pip: [{pips}], member: p, concatenate: true }}]")).0;
        assert_eq!(listed(""), "from[0].pip");
        assert_eq!(listed("a==1, b"), "from[0].pip[1]");
        assert_eq!(listed("a==1, b==1, a==1"), "from[0].pip[2]");
        let url = "from: [{ url: ['https://example.org/a', 'http://example.org/b'], concatenate: true }]";
        assert_eq!(fault(url).0, "from[0].url[1]");
    }

    #[test]
    fn what_is_neither_a_text_nor_a_list_is_refused() {
        for pip in ["3", "{ a: b }", "[a==1, 2]"] {
            let error = serde_yaml::from_str::<AssetSpec>(&format!("from: [{{ pip: {pip} }}]")).unwrap_err();
            assert!(error.to_string().contains("a text or a list of texts is wanted"), "{error}");
        }
    }

    #[test]
    fn people_read_the_ends_of_a_list_and_the_cache_all_of_it() {
        let spec = spec("from: [{ pip: [a==1, b==1, c==1], member: p*, concatenate: true }]");
        let kind = spec.from[0].kind().unwrap();
        assert_eq!(kind.to_string(), "pip a==1 … c==1 (3 parts) · p*");
        assert_eq!(kind.cache_text(), "pip a==1 + b==1 + c==1 · p*");
    }

    #[test]
    fn only_https_and_this_machine_are_addresses() {
        for url in [
            "http://example.org/a",
            "http://127.0.0.1.example.org/a",
            "ftp://example.org/a",
            "https://u:p@example.org/a",
            "https://example.org/",
            "https://example.org",
        ] {
            assert_eq!(fault(&format!("from: [{{ url: '{url}' }}]")).0, "from[0].url", "{url}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let error = serde_yaml::from_str::<AssetSpec>("from: [{ ulr: a }]").unwrap_err().to_string();
        assert!(error.contains("unknown field `ulr`"), "{error}");
    }

    #[test]
    fn basenames_are_what_a_person_would_save_as() {
        let name = |yaml: &str| spec(yaml).from[0].kind().unwrap().basename();
        assert_eq!(name("from: [{ url: 'https://example.org/x/a.gguf?download=1' }]").as_deref(), Some("a.gguf"));
        assert_eq!(name("from: [{ pip: a==1, member: a/ml-100k/ }]").as_deref(), Some("ml-100k"));
        assert_eq!(name("from: [{ path: ../logs/mine/ }]").as_deref(), Some("mine"));
        assert_eq!(name("from: [{ path: .. }]"), None);
        assert_eq!(name("from: [{ pip: a==1, member: a/part*.bin }]"), None);
    }
}
